/**
 * A migration storm: many CPU threads touch pages that are in device memory, and each page has to
 * come home through one mutex of the driver.
 *
 * A process reads all the memory of its secure guest, as a dump or a live migration does, with more
 * and more threads. Beside it the same pages in as many guests as threads, with a mutex each: what
 * the threads could do if it were not for that mutex.
 *
 *     npx tsx examples/museum/30-storm/storm.ts
 */
import { fileURLToPath } from 'node:url';
import * as hmm from 'hmmlab';
import { readTiming } from 'hmmlab/node';

const PAGE = 64 * hmm.KiB;
/** Read in all, however many threads share them: 8 MiB. */
const PAGES = 128;
export const THREADS: readonly number[] = [1, 2, 4, 8, 16, 32, 64];
const SPEC = fileURLToPath(new URL('../../specs/power-uvmem.json', import.meta.url));

/** What one run came to. Times are nanoseconds. */
export interface StormRow {
  readonly threads: number;
  /** From the first access to the last. */
  readonly timeNs: number;
  /** The time of all threads together, each until it is done... */
  readonly threadNs: number;
  /** ...and the part of it in which they waited for a uvmem_lock. */
  readonly mutexNs: number;
}

/** `threads` threads read PAGES pages of one guest, or of a guest each. */
export function storm(threads: number, timing: hmm.Timing, guests: 'one' | 'each'): StormRow {
  const machine = new hmm.Machine({
    pageSize: PAGE,
    ramBytes: 64 * hmm.MiB,
    timing,
    accounts: true,
  });
  const kvm = machine.attach(new hmm.KvmUvmem({ secureBytes: 2 * PAGES * PAGE }));
  const share = PAGES / threads;
  const count = guests === 'one' ? 1 : threads;
  const processes = Array.from({ length: count }, () => secureGuest(machine, kvm, PAGES / count));
  const startNs = machine.scheduler.nowNs;
  for (let i = 0; i < threads; i++) {
    const { proc, start } = processes[i % count]!;
    const from = start + (guests === 'one' ? i * share * PAGE : 0);
    machine.spawn(`reader ${i}`, readAll(proc, from, share));
  }
  machine.runAll();
  const spent = machine.scheduler.accounts!.entries.filter(({ thread }) =>
    thread.startsWith('reader'),
  );
  const inMutex = spent.filter(({ label }) => label.startsWith('uvmem_lock'));
  const timeNs = machine.scheduler.nowNs - startNs;
  return { threads, timeNs, threadNs: sum(spent), mutexNs: sum(inMutex) };
}

/** A process whose guest has `pages` pages, all of them secure. */
function secureGuest(
  machine: hmm.Machine,
  kvm: hmm.KvmUvmem,
  pages: number,
): { readonly proc: hmm.Process; readonly start: hmm.Va } {
  const proc = machine.createProcess();
  const start = proc.mmap({ pages });
  for (let i = 0; i < pages; i++) proc.store32(start + i * PAGE, i + 1);
  const vm = kvm.open(proc);
  vm.setMemoryRegion({ slot: 0, gfn: 0, pages, address: start });
  const result = vm.esm();
  if (result !== hmm.H_SUCCESS) throw new Error(`UV_ESM: ${hmm.hcallResultName(result)}`);
  return { proc, start };
}

function* readAll(proc: hmm.Process, start: hmm.Va, pages: number): hmm.Task<void> {
  for (let i = 0; i < pages; i++) yield* proc.loadTask(start + i * PAGE);
}

function sum(accounts: readonly hmm.TimeAccount[]): number {
  return accounts.reduce((total, { ns }) => total + ns, 0);
}

/** All runs, as a table in Markdown. */
export function stormTable(): string[] {
  const timing = readTiming(SPEC);
  const one = THREADS.map((threads) => storm(threads, timing, 'one'));
  const each = THREADS.map((threads) => storm(threads, timing, 'each'));
  return [
    '| threads | time | faster | of their time in the mutex | with a mutex each | faster |',
    '| --: | --: | --: | --: | --: | --: |',
    ...one.map((row, i) => {
      const share = `${((100 * row.mutexNs) / row.threadNs).toFixed(1)} %`;
      const cells = [row.threads, ...timeCells(one, i), share, ...timeCells(each, i)];
      return `| ${cells.join(' | ')} |`;
    }),
  ];
}

/** The time of a row, and how many times faster that is than one thread. */
function timeCells(rows: readonly StormRow[], i: number): readonly [string, string] {
  const { timeNs } = rows[i]!;
  return [`${(timeNs / 1e6).toFixed(2)} ms`, `${(rows[0]!.timeNs / timeNs).toFixed(1)} times`];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(`${stormTable().join('\n')}\n`);
}
