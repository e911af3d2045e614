// hmmlab explore that a signal or a closed pipe ends.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { MAIN, ROOT } from '../program/cli.ts';
import { programFiles } from './programs.ts';

const FILES = programFiles();

/** A first program that fails at once, and a second one that is searched for ever. */
const ENDLESS = ['explore', FILES.all, '--schedules', '1000000000', '--workers', '1'];

class Run {
  stdout = '';
  stderr = '';
  readonly child: ChildProcessByStdio<null, Readable, Readable>;

  constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
  }

  async until(text: string): Promise<void> {
    const { stdout } = this.child;
    while (!this.stdout.includes(text)) {
      await Promise.race([once(stdout, 'data'), once(stdout, 'end')]);
      if (stdout.readableEnded) throw new Error(`ended without "${text}": ${this.stderr}`);
    }
  }

  async ended(): Promise<{ status: number | null; signal: string | null }> {
    const [status, signal] = await once(this.child, 'close');
    return { status, signal };
  }
}

describe('hmmlab explore', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s: tells what was seen so far, and ends', async (signal, code) => {
    const run = new Run(ENDLESS);
    await run.until('program wrong');
    await setTimeout(300);
    run.child.kill(signal);
    expect(await run.ended()).toEqual({ status: code, signal: null });
    expect(run.stderr).toBe('');
    expect(run.stdout).toMatch(/^program quiet\n {2}mix: [\d,]+ schedules? .*, interrupted$/m);
    expect(run.stdout).toMatch(/ {2}nothing found so far\n\n$/);
  });

  it('ends when nobody reads any more', async () => {
    const run = new Run(['explore', FILES.all, '--schedules', '500', '--workers', '1']);
    await run.until('program wrong');
    run.child.stdout.destroy();
    expect(await run.ended()).toEqual({ status: 141, signal: null });
    expect(run.stderr).toBe('');
  });
});
