// Runs the command line in a process of its own, as a person would.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url));
export const MAIN = 'dist/cli/main.js';

export interface Done {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A CI machine asks for colours in its own way; a pipe has none all the same. */
const ENV = { ...process.env, CI: 'true', FORCE_COLOR: '' };

export function hmmlab(args: readonly string[], input = ''): Done {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    cwd: ROOT,
    input,
    env: ENV,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  return { status, stdout, stderr };
}
