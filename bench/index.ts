// npm run bench [-- --json]: speeds of the core, each beside a yardstick measured in the same run.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { isEqual, replayAll } from '../src/cli/conformance.ts';
import { Machine } from '../src/core/machine.ts';
import { userFault } from '../src/core/mm/fault.ts';
import { MiB, PAGE_SIZE } from '../src/core/units.ts';
import { Dmirror } from '../src/drivers/dmirror/index.ts';
import { LANGUAGE } from '../src/drivers/index.ts';
import { parseRecording } from '../src/program/index.ts';
import { bestMs, bestRate, bytesInUse, type Figure, holds } from './measure.ts';

const ROUNDS = 7;
const PAGES = 4096;

function buffer(pages: number) {
  const machine = new Machine({ ramBytes: 8192 * MiB });
  const device = machine.attach(new Dmirror({ type: 'private' }));
  const proc = machine.createProcess();
  const file = device.open(proc);
  const va = proc.mmap({ pages });
  for (let i = 0; i < pages; i++) proc.store32(va + i * PAGE_SIZE, i);
  return { machine, proc, file, va };
}

/** Pages of real bytes copied from one typed array to another: the limit of any copying emulator. */
function copiedPages(): number {
  const from = new Uint8Array(PAGES * PAGE_SIZE).fill(1);
  const to = new Uint8Array(PAGES * PAGE_SIZE);
  return bestRate(ROUNDS, PAGES, () => {
    for (let at = 0; at < from.length; at += PAGE_SIZE) {
      to.set(from.subarray(at, at + PAGE_SIZE), at);
    }
  });
}

function touchHome(copied: number): Figure {
  const { proc, file, va } = buffer(PAGES);
  const ms = bestMs(ROUNDS, () => {
    if (file.migrateToDev(va, PAGES).ret !== 0) throw new Error('the pages did not move');
    const start = performance.now();
    let sum = 0;
    for (let i = 0; i < PAGES; i++) sum += proc.load32(va + i * PAGE_SIZE);
    const elapsed = performance.now() - start;
    if (sum !== (PAGES * (PAGES - 1)) / 2) throw new Error('contents were lost');
    return elapsed;
  });
  const value = (PAGES / ms) * 1000;
  return {
    name: 'CPU faults that bring a device page home',
    value,
    unit: '/s',
    floor: 300_000,
    yardstick: 'pages copied',
    ratio: value / copied,
  };
}

function moveInBulk(copied: number): Figure {
  const { file, va } = buffer(PAGES);
  const ms = bestMs(ROUNDS, () => {
    const start = performance.now();
    const there = file.migrateToDev(va, PAGES).ret;
    const back = file.migrateToSys(va, PAGES).ret;
    if (there !== 0 || back !== 0) throw new Error('the pages did not move');
    return performance.now() - start;
  });
  const value = ((2 * PAGES) / ms) * 1000;
  return {
    name: 'pages migrated in bulk with contents',
    value,
    unit: '/s',
    floor: 1_000_000,
    yardstick: 'pages copied',
    ratio: value / copied,
  };
}

function loads(): Figure {
  const { proc, va } = buffer(PAGES);
  const rounds = 200;
  const words = new Uint32Array((PAGES * PAGE_SIZE) / 4);
  let sum = 0;
  const plain = bestRate(ROUNDS, PAGES * rounds, () => {
    for (let k = 0; k < rounds; k++) {
      for (let i = 0; i < PAGES; i++) sum += words[i * (PAGE_SIZE / 4)]!;
    }
  });
  const value = bestRate(ROUNDS, PAGES * rounds, () => {
    for (let k = 0; k < rounds; k++) {
      for (let i = 0; i < PAGES; i++) sum += proc.load32(va + i * PAGE_SIZE);
    }
  });
  if (sum === 0) throw new Error('nothing was loaded');
  return {
    name: 'loads that do not fault',
    value,
    unit: '/s',
    floor: 20_000_000,
    yardstick: 'typed-array reads',
    ratio: value / plain,
  };
}

/** What the machine keeps for a resident page beside its contents. */
function bookkeeping(): Figure {
  const pages = 2 ** 20;
  const machine = new Machine({ ramBytes: 8192 * MiB });
  const proc = machine.createProcess();
  const va = proc.mmap({ pages });
  const before = bytesInUse();
  // Stores of pages that nobody wrote would need contents; a write fault alone does not.
  for (let i = 0; i < pages; i++) machine.run(touch(machine, proc.pid, va + i * PAGE_SIZE));
  const value = (bytesInUse() - before) / pages;
  if (machine.kernel.pages.ramUsed < pages) throw new Error('the pages are not resident');
  return {
    name: 'bookkeeping for a resident page',
    value,
    unit: ' bytes',
    floor: 64,
    lowerIsBetter: true,
    yardstick: 'its contents',
    ratio: value / PAGE_SIZE,
  };
}

function* touch(machine: Machine, pid: number, va: number) {
  yield* userFault(machine.processes.get(pid)!.mm, va, true);
}

async function recordings(): Promise<Figure> {
  const names = ['6.1', '6.1-heavy', '6.1-lab', '6.12-heavy', '6.12-lab'];
  const texts = names.map((name) => {
    const url = new URL(`../test/recordings/linux-${name}.jsonl.gz`, import.meta.url);
    return { name, text: gunzipSync(readFileSync(url)).toString() };
  });
  const parseStart = performance.now();
  for (const { text } of texts) for (const line of text.trim().split('\n')) JSON.parse(line);
  const parse = performance.now() - parseStart;
  const start = performance.now();
  const tally = await replayAll(
    texts.map(({ name, text }) => parseRecording(text, name, LANGUAGE)),
  );
  const elapsed = performance.now() - start;
  if (!isEqual(tally)) throw new Error('a recording differs');
  return {
    name: `the five recordings of 6.1 and 6.12, ${tally.operations} operations`,
    value: elapsed / 1000,
    unit: ' s',
    floor: 20,
    lowerIsBetter: true,
    yardstick: 'parsing their JSON',
    ratio: elapsed / parse,
  };
}

const copied = copiedPages();
const figures = [touchHome(copied), moveInBulk(copied), loads(), bookkeeping(), await recordings()];
if (process.argv.includes('--json')) console.log(JSON.stringify({ copiedPages: copied, figures }));
else {
  console.log(`yardstick: ${format(copied)} pages/s copied from array to array\n`);
  for (const figure of figures) {
    const bound = figure.lowerIsBetter === true ? 'at most' : 'at least';
    console.log(
      `${figure.name.padEnd(58)} ${format(figure.value).padStart(11)}${figure.unit}`.padEnd(78) +
        `${bound} ${format(figure.floor)}`.padEnd(22) +
        `${holds(figure) ? 'holds' : 'MISSED'}   ${figure.ratio.toPrecision(3)} x ${figure.yardstick}`,
    );
  }
}
if (!figures.every(holds)) process.exitCode = 1;

function format(value: number): string {
  const digits = value < 100 ? 1 : 0;
  return value.toLocaleString('en-US', { maximumFractionDigits: digits });
}
