/** A C loop that copies pages, compiled on the spot; a typed array's copy where no compiler is. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { keep, rateOf } from '../harness/measure.ts';
import { ROOT } from '../harness/project.ts';

export interface PageCopier {
  /** What it is, and its unit. */
  readonly name: string;
  /** Copies all pages once; pages a second. */
  round(): Promise<number> | number;
  close(): void;
}

export function pageCopier(pages: number): PageCopier {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const program = join(folder, 'memcpy');
  const source = join(ROOT, 'bench', 'memcpy.c');
  for (const compiler of ['cc', 'gcc', 'clang']) {
    try {
      execFileSync(compiler, ['-O2', '-o', program, source], { stdio: 'ignore' });
      return new CLoop(folder, program, pages);
    } catch {
      // The next one, then.
    }
  }
  rmSync(folder, { recursive: true });
  return new ArrayCopier(pages);
}

class CLoop implements PageCopier {
  readonly name = 'pages/s by memcpy in C';
  readonly #folder: string;
  readonly #pages: number;
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  constructor(folder: string, program: string, pages: number) {
    this.#folder = folder;
    this.#pages = pages;
    this.#child = spawn(program, [String(pages)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout! });
    this.#child.once('exit', (code) => {
      if (code !== 0) throw new Error(`the memcpy loop failed with ${code}`);
    });
  }

  async round(): Promise<number> {
    const answer = once(this.#lines, 'line') as Promise<[string]>;
    this.#child.stdin!.write('\n');
    const [ns] = await answer;
    return (this.#pages * 1e9) / Number(ns);
  }

  close(): void {
    this.#child.stdin!.end();
    this.#lines.close();
    rmSync(this.#folder, { recursive: true });
  }
}

const PAGE_WORDS = 1024;

class ArrayCopier implements PageCopier {
  readonly name = 'pages/s by typed array (no C compiler here)';
  readonly #pages: number;
  readonly #from: Uint32Array;
  readonly #to: Uint32Array;

  constructor(pages: number) {
    this.#pages = pages;
    this.#from = new Uint32Array(pages * PAGE_WORDS).fill(1);
    this.#to = new Uint32Array(pages * PAGE_WORDS).fill(2);
  }

  round(): number {
    const rate = rateOf(this.#pages, () => {
      for (let page = 0; page < this.#pages; page++) {
        const at = page * PAGE_WORDS;
        this.#to.set(this.#from.subarray(at, at + PAGE_WORDS), at);
      }
    });
    keep(this.#to[PAGE_WORDS * (this.#pages - 1)]!);
    return rate;
  }

  close(): void {}
}
