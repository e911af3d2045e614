// Random accesses of several channels through a fault buffer that is too small, against a driver
// that maps, invalidates and cancels: nothing is lost, nothing happens twice.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SimEvent } from '../../src/core/events/types.ts';
import { Machine } from '../../src/core/machine.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import type { Page } from '../../src/core/units.ts';
import {
  GPU_CANCELLED,
  type GpuAccess,
  type GpuAccessKind,
  type GpuResult,
} from '../../src/hw/gpu.ts';
import { ramPage } from './lab.ts';
import { ModelDriver, type Waking } from './model-driver.ts';

const PAGES = 6;
const CHANNELS = 3;
/** Words of a page: never written, added to, and from here on each written by one access. */
const CONSTANT = 0;
const COUNTER = 1;
const OWN = 2;

interface Wish {
  readonly kind: GpuAccessKind;
  readonly vpn: number;
}

interface Thread {
  readonly channel: number;
  readonly jobs: readonly { readonly delayNs: number; readonly wishes: readonly Wish[] }[];
}

interface Scenario {
  readonly entries: number;
  readonly waking: Waking;
  readonly serveNs: number;
  readonly merge: boolean;
  readonly threads: readonly Thread[];
  /** Pages that the driver takes away, one after the other. */
  readonly invalidations: readonly { readonly delayNs: number; readonly vpn: number }[];
  /** Pages that cannot be served, by channel. */
  readonly fatal: readonly (readonly number[])[];
  /** Which runnable thread goes next; goes round. */
  readonly choices: readonly number[];
}

const vpn = fc.nat(PAGES - 1);
const delayNs = fc.nat(4);
const wish: fc.Arbitrary<Wish> = fc.record({
  kind: fc.constantFrom('read', 'write', 'atomic', 'prefetch'),
  vpn,
});
const job = fc.record({ delayNs, wishes: fc.array(wish, { maxLength: 24 }) });

const scenario: fc.Arbitrary<Scenario> = fc.record({
  entries: fc.integer({ min: 2, max: 8 }),
  waking: fc.constantFrom('level', 'edge', 'threads'),
  serveNs: fc.nat(2),
  merge: fc.boolean(),
  threads: fc.array(
    fc.record({ channel: fc.nat(CHANNELS - 1), jobs: fc.array(job, { maxLength: 3 }) }),
    { minLength: 1, maxLength: 5 },
  ),
  invalidations: fc.array(fc.record({ delayNs, vpn }), { maxLength: 12 }),
  fatal: fc.tuple(
    fc.array(vpn, { maxLength: 1 }),
    fc.array(vpn, { maxLength: 2 }),
    fc.constant<number[]>([]),
  ),
  choices: fc.array(fc.nat(20), { minLength: 1, maxLength: 20 }),
});

interface Done {
  readonly channel: number;
  readonly access: GpuAccess;
  readonly result: GpuResult;
}

class Run {
  readonly machine: Machine;
  readonly pages: readonly Page[];
  readonly driver: ModelDriver;
  readonly done: Done[] = [];
  readonly told: SimEvent[] = [];
  readonly #scenario: Scenario;
  /** Accesses issued so far. */
  issued = 0;

  constructor(scenario: Scenario) {
    const { choices, fatal } = scenario;
    let choice = 0;
    this.#scenario = scenario;
    this.machine = new Machine({
      strategy: (runnable) => choices[choice++ % choices.length]! % runnable.length,
    });
    this.machine.events.on('*', (event) => this.told.push(event));
    this.pages = Array.from({ length: PAGES }, (_, n) => ramPage(this.machine, 1000 + n));
    const sets = fatal.map((vpns) => new Set(vpns));
    this.driver = new ModelDriver(this.machine, this.pages, { ...scenario, fatal: sets });
    for (const thread of scenario.threads) this.machine.spawn('channel', this.#channel(thread));
    this.machine.spawn('invalidations', this.#invalidations());
    this.machine.runAll();
  }

  count(kind: SimEvent['kind']): number {
    return this.told.filter((event) => event.kind === kind).length;
  }

  word(vpn: number, word: number): number {
    return this.machine.kernel.pages.read32(this.pages[vpn]!, word);
  }

  *#channel({ channel, jobs }: Thread): Task<void> {
    for (const { delayNs, wishes } of jobs) {
      if (delayNs > 0) yield new Delay(delayNs);
      const accesses = wishes.map((wish) => this.#access(wish));
      const { gpu, channels } = this.driver;
      const results = yield* gpu.execute(channels[channel]!, accesses);
      expect(results).toHaveLength(accesses.length);
      accesses.forEach((access, i) => {
        this.done.push({ channel, access, result: results[i]! });
      });
    }
  }

  #access({ kind, vpn }: Wish): GpuAccess {
    const id = this.issued++;
    const word = kind === 'write' ? OWN + id : kind === 'atomic' ? COUNTER : CONSTANT;
    return { kind, va: vpn * this.machine.pageSize + word * 4, value: kind === 'atomic' ? 1 : id };
  }

  *#invalidations(): Task<void> {
    for (const { delayNs, vpn } of this.#scenario.invalidations) {
      if (delayNs > 0) yield new Delay(delayNs);
      for (const { pageTable } of this.driver.channels) pageTable.unmap(vpn, vpn + 1);
    }
  }
}

function pageOf({ va }: GpuAccess): number {
  return Math.floor(va / 4096);
}

/** Every access ended, with the right result; what it was to do happened, once. */
function checkResults(run: Run): void {
  expect(run.done).toHaveLength(run.issued);
  const counted: number[][] = run.pages.map(() => []);
  for (const { access, result } of run.done) {
    const vpn = pageOf(access);
    const word = (access.va % 4096) / 4;
    const cancelled = result === GPU_CANCELLED;
    if (access.kind === 'read' && !cancelled) expect(result).toBe(1000 + vpn);
    if (access.kind === 'prefetch' && !cancelled) expect(result).toBe(0);
    if (access.kind === 'write') {
      expect(run.word(vpn, word)).toBe(cancelled ? 0 : access.value);
      if (!cancelled) expect(result).toBe(0);
    }
    if (access.kind === 'atomic' && !cancelled) counted[vpn]!.push(result);
  }
  counted.forEach((olds, vpn) => {
    expect(olds.sort((a, b) => a - b)).toEqual(olds.map((_, i) => i));
    expect(run.word(vpn, COUNTER)).toBe(olds.length);
  });
}

/** A channel dies if, and only if, one of its faults could not be served. */
function checkChannels(run: Run, { fatal }: Scenario): void {
  const overflows = run.driver.gpu.faultBuffer.overflows;
  run.driver.channels.forEach(({ dead }, channel) => {
    const own = run.done.filter((one) => one.channel === channel);
    const hopeless = own.filter(({ access }) => fatal[channel]!.includes(pageOf(access)));
    // A prefetch is a hint: where its entry finds no room, nobody hears of it again.
    const heard = hopeless.filter(({ access }) => access.kind !== 'prefetch' || overflows === 0);
    if (heard.length > 0) expect(dead).toBe(true);
    if (dead) expect(hopeless).not.toEqual([]);
    else expect(own.filter(({ result }) => result === GPU_CANCELLED)).toEqual([]);
    for (const { access, result } of hopeless) {
      if (access.kind !== 'prefetch') expect(result).toBe(GPU_CANCELLED);
    }
  });
}

/** Nothing is left in the hardware, and it told of each entry and each overflow. */
function checkHardware(run: Run): void {
  const { gpu, taken, channels } = run.driver;
  expect([gpu.stalled, gpu.lost, gpu.interruptPending]).toEqual([0, 0, false]);
  expect(run.count('gpu_fault')).toBe(taken);
  expect(run.count('fault_buffer_overflow')).toBe(gpu.faultBuffer.overflows);
  expect(run.count('fatal_fault')).toBe(channels.filter(({ dead }) => dead).length);
}

describe('accesses through a small fault buffer', () => {
  it('all end, each done once or cancelled with its channel', { timeout: 120_000 }, () => {
    let overflows = 0;
    const property = fc.property(scenario, (scenario) => {
      const run = new Run(scenario);
      checkResults(run);
      checkChannels(run, scenario);
      checkHardware(run);
      if (run.driver.gpu.faultBuffer.overflows > 0) overflows++;
    });
    fc.assert(property, { numRuns: 1000 });
    expect(overflows).toBeGreaterThan(100);
  });

  it('go the same way each time', () => {
    const property = fc.property(scenario, (scenario) => {
      const [first, second] = [new Run(scenario), new Run(scenario)];
      expect(second.told).toEqual(first.told);
      expect(second.done).toEqual(first.done);
    });
    fc.assert(property, { numRuns: 50 });
  });
});
