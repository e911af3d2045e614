// Random programs with GPUs, a dmirror and forked processes: counts always agree, no GPU keeps a
// mapping that it should not, and every read returns the last write.

import { expect, it } from 'vitest';
import type { EraName } from '../../src/core/era.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Process } from '../../src/core/process.ts';
import { KiB, MiB, PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { Dmirror, type DmirrorFile } from '../../src/drivers/dmirror/index.ts';
import { Nouveau, type NouveauFile } from '../../src/drivers/nouveau/index.ts';
import type { GpuAccess } from '../../src/hw/gpu.ts';

const PAGES = 6;
const STEPS = 40;

interface Client {
  readonly proc: Process;
  readonly files: readonly NouveauFile[];
  readonly mirror: DmirrorFile;
  /** What the first word of each page should be; null where nothing is mapped. */
  readonly words: (number | null)[];
  /** May the page be written? */
  readonly writable: boolean[];
}

class RandomRun {
  readonly machine: Machine;
  readonly gpus: readonly Nouveau[];
  readonly mirror: Dmirror;
  readonly clients: Client[] = [];
  readonly va: Va;
  #state: number;
  #value = 1;

  constructor(seed: number, era: EraName, pageSize: number) {
    this.#state = seed;
    this.machine = new Machine({ era, ramBytes: 32 * MiB, pageSize });
    this.gpus = [4, 64].map((faultEntries) =>
      this.machine.attach(new Nouveau({ mended: true, vramBytes: 2 * MiB, faultEntries })),
    );
    this.mirror = this.machine.attach(new Dmirror({ chunkBytes: 2 * MiB }));
    const proc = this.machine.createProcess();
    this.va = proc.mmap({ pages: PAGES });
    this.#enter(proc, new Array(PAGES).fill(0), new Array(PAGES).fill(true));
  }

  step(): string {
    const client = this.clients[this.#below(this.clients.length)]!;
    const file = client.files[this.#below(2)]!;
    const first = this.#below(PAGES);
    const count = 1 + this.#below(PAGES - first);
    const mapped = this.#mapped(client, first, count);
    const kinds = ['load', 'store', 'bind', 'read', 'write', 'atomic', 'mirror', 'map', 'fork'];
    const kind = kinds[this.#below(kinds.length)]!;
    switch (kind) {
      case 'load':
        for (const i of mapped) expect(client.proc.load32(this.#at(i))).toBe(client.words[i]);
        break;
      case 'store':
        for (const i of this.#writable(client, mapped)) {
          client.words[i] = this.#value++;
          client.proc.store32(this.#at(i), client.words[i]!);
        }
        break;
      case 'bind':
        expect(file.svmBind(this.#at(first), count * this.machine.pageSize)).toBe(0);
        break;
      case 'read':
        this.#job(client, file, mapped, 'read');
        break;
      case 'write':
      case 'atomic':
        this.#job(client, file, this.#writable(client, mapped), kind);
        break;
      case 'mirror':
        this.#mirrorUse(client, mapped);
        break;
      case 'map':
        this.#remap(client, first, count);
        break;
      case 'fork':
        this.#forkOrExit(client);
        break;
    }
    return `${kind} ${first} ${count}`;
  }

  verify(): void {
    expect(this.machine.verify({ full: true })).toEqual([]);
    for (const gpu of this.gpus) expect(gpu.staleMappings()).toEqual([]);
    expect(this.machine.kernel.trespasses).toBe(0);
  }

  finish(): void {
    for (const gpu of this.gpus) {
      if (this.machine.era.migrateDeviceRange) expect(gpu.remove()).toBe(0);
      this.verify();
    }
    for (const { proc, words } of this.clients) {
      words.forEach((word, i) => {
        if (word !== null) expect(proc.load32(this.#at(i))).toBe(word);
      });
      proc.exit();
    }
    this.verify();
    for (const gpu of this.gpus) expect(gpu.pagesInUse).toBe(0);
  }

  /** A GPU job with several accesses to each page. */
  #job(client: Client, file: NouveauFile, pages: readonly number[], kind: GpuAccess['kind']): void {
    const { words } = client;
    // Before v5.19 a GPU dies where it meets another device's page.
    if (!this.machine.era.hmmFaultsForeign) {
      for (const i of pages) client.proc.load32(this.#at(i));
    }
    const expected: number[] = [];
    const job: GpuAccess[] = [];
    for (const i of pages) {
      const va = this.#at(i);
      expected.push(kind === 'write' ? 0 : words[i]!);
      job.push({ kind, va, value: this.#value });
      if (kind === 'write') words[i] = this.#value;
      if (kind === 'atomic') words[i] = words[i]! + this.#value;
      this.#value++;
      expected.push(0);
      job.push({ kind: 'prefetch', va });
    }
    expect(file.execute(job)).toEqual({ ret: 0, results: expected });
  }

  #mirrorUse(client: Client, pages: readonly number[]): void {
    for (const i of pages) {
      const va = this.#at(i);
      if (!this.machine.era.hmmFaultsForeign) client.proc.load32(va);
      if (this.#below(2) === 0) client.mirror.migrateToDev(va, 1);
      else expect(client.mirror.read(va, 1).data).toEqual(Uint32Array.of(client.words[i]!));
    }
  }

  /** Unmaps, maps anew, or changes what may be done. */
  #remap(client: Client, first: number, count: number): void {
    const { pageSize } = this.machine;
    const what = this.#below(4);
    const va = this.#at(first);
    if (what === 0) client.proc.munmap(va, count * pageSize);
    else if (what === 1) client.proc.mmap({ pages: count, addr: va });
    else if (what === 2) client.proc.dontneed(va, count * pageSize);
    for (let i = first; i < first + count; i++) {
      if (what === 0) client.words[i] = null;
      else if (what === 1 || (what === 2 && client.words[i] !== null)) client.words[i] = 0;
      if (what === 1) client.writable[i] = true;
      if (what !== 3 || client.words[i] === null) continue;
      client.writable[i] = this.#below(2) === 0;
      client.proc.mprotect(this.#at(i), pageSize, client.writable[i] ? 'rw' : 'r');
    }
  }

  #forkOrExit(client: Client): void {
    if (this.clients.length < 4) {
      this.#enter(client.proc.fork(), [...client.words], [...client.writable]);
    } else {
      const [gone] = this.clients.splice(1 + this.#below(3), 1);
      gone!.proc.exit();
    }
  }

  #enter(proc: Process, words: (number | null)[], writable: boolean[]): void {
    const files = this.gpus.map((gpu) => gpu.open(proc));
    this.clients.push({ proc, files, mirror: this.mirror.open(proc), words, writable });
  }

  #mapped(client: Client, first: number, count: number): number[] {
    const all = Array.from({ length: count }, (_, i) => first + i);
    return all.filter((i) => client.words[i] !== null);
  }

  #writable(client: Client, pages: readonly number[]): number[] {
    return pages.filter((i) => client.writable[i]);
  }

  #at(i: number): Va {
    return this.va + i * this.machine.pageSize;
  }

  #below(limit: number): number {
    this.#state = (this.#state * 48_271) % 2_147_483_647;
    return Math.floor(this.#state / 7) % limit;
  }
}

const ERAS: readonly EraName[] = ['v5.7', 'v5.10', 'v6.1', 'v6.12'];
const RUNS = 25;

it.each(ERAS)(`${RUNS} of them in %s`, (era) => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const run = new RandomRun(seed * 65_537, era, seed % 5 === 0 ? 64 * KiB : PAGE_SIZE);
    const steps: string[] = [];
    try {
      for (let i = 0; i < STEPS; i++) {
        steps.push(run.step());
        run.verify();
      }
      run.finish();
    } catch (error) {
      throw new Error(`run ${seed}: ${steps.join(', ')}`, { cause: error });
    }
  }
});
