import { beforeEach, describe, expect, it } from 'vitest';
import { EBUSY, EFAULT, EINVAL, EPERM } from '../../src/core/errno.ts';
import {
  IntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalReadBegin,
  mmuIntervalSetSeq,
} from '../../src/core/hmm/notifier.ts';
import {
  HMM_PFN_ERROR,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
  hmmPfnPage,
  hmmRangeFault,
} from '../../src/core/hmm/range-fault.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Owner } from '../../src/core/pagemap/pagemap.ts';
import type { Process } from '../../src/core/process.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { SmallDevice } from './device.ts';

const READ = HMM_PFN_REQ_FAULT;
const WRITE: number = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
const RO = HMM_PFN_VALID;
const RW: number = HMM_PFN_VALID | HMM_PFN_WRITE;

describe('hmmRangeFault', () => {
  let machine: Machine;
  let proc: Process;
  let notifier: IntervalNotifier;
  let device: SmallDevice;

  beforeEach(() => {
    machine = new Machine();
    proc = machine.createProcess();
    device = new SmallDevice(machine, 'device');
    notifier = watch();
  });

  function watch(): IntervalNotifier {
    const made = mmuIntervalNotifierInsert(proc.mm, {
      name: 'mirror',
      invalidate(interval, _range, seq) {
        mmuIntervalSetSeq(interval, seq);
        return true;
      },
    });
    if (!(made instanceof IntervalNotifier)) throw new Error('not inserted');
    return made;
  }

  interface Answer {
    readonly result: number;
    readonly words: Uint32Array;
    /** The flags of each word. */
    readonly flags: number[];
  }

  interface Request {
    readonly requests?: number[];
    readonly all?: number;
    readonly owner?: Owner | null;
  }

  /** The loop every driver has: again while an invalidation came between. */
  function* askTask(va: Va, count: number, request: Request): Task<Answer> {
    const words = new Uint32Array(count);
    for (;;) {
      words.set(request.requests ?? []);
      const range: HmmRange = {
        notifier,
        notifierSeq: yield* mmuIntervalReadBegin(notifier),
        start: va,
        end: va + count * PAGE_SIZE,
        hmmPfns: words,
        defaultFlags: request.all ?? 0,
        pfnFlagsMask: request.requests === undefined ? 0 : WRITE,
        devPrivateOwner: request.owner ?? null,
      };
      yield* proc.mm.mmapLock.read();
      const result = yield* hmmRangeFault(range);
      proc.mm.mmapLock.unlockRead();
      if (result === -EBUSY) continue;
      return { result, words, flags: [...words].map((word) => word & 0x3f) };
    }
  }

  function ask(va: Va, count: number, request: Request = {}): Answer {
    const answer = machine.run(askTask(va, count, request));
    expect(machine.verify()).toEqual([]);
    return answer;
  }

  it('reports what is there without touching it', () => {
    const buf = proc.mmap({ pages: 4 });
    proc.store32(buf, 1);
    proc.load32(buf + PAGE_SIZE);
    proc.mprotect(buf + 3 * PAGE_SIZE, PAGE_SIZE, 'n');
    const { result, words, flags } = ask(buf, 5);
    expect(result).toBe(0);
    // Written, zero page, untouched, no access, no VMA.
    expect(flags).toEqual([RW, RO, 0, HMM_PFN_ERROR, HMM_PFN_ERROR]);
    expect(hmmPfnPage(words[0]!)).toBe(machine.pageAt(proc, buf));
    expect(hmmPfnPage(words[1]!)).toBe(0);
    expect(machine.pageAt(proc, buf + 2 * PAGE_SIZE)).toBe(null);
  });

  it('faults in what is requested and what follows it in the same leaf', () => {
    const buf = proc.mmap({ pages: 4 });
    expect(ask(buf, 3, { requests: [0, READ, 0] }).flags).toEqual([RO, RO, RO]);
    proc.dontneed(buf, 3 * PAGE_SIZE);
    // The leaf is there now, so entries are looked at one by one.
    expect(ask(buf, 3, { requests: [0, WRITE, 0] }).flags).toEqual([0, RW, RW]);
    expect(ask(buf, 4, { all: WRITE }).flags).toEqual([RW, RW, RW, RW]);
  });

  it('refuses what cannot be', () => {
    const buf = proc.mmap({ pages: 2, prot: 'r' });
    const closed = proc.mmap({ pages: 1, prot: 'n' });
    expect(ask(buf, 2, { all: READ }).flags).toEqual([RO, RO]);
    expect(ask(buf, 2, { all: WRITE }).result).toBe(-EPERM);
    expect(ask(buf, 3, { all: READ }).result).toBe(-EFAULT);
    expect(ask(closed, 1, { all: READ }).result).toBe(-EFAULT);
    expect(ask(buf, 0).result).toBe(-EINVAL);
    const file = proc.createFile(1);
    const past = proc.mmap({ pages: 2, file, shared: true });
    expect(ask(past, 2, { all: READ }).result).toBe(-EFAULT);
  });

  it('reports memory of the caller, and brings that of others home', () => {
    const buf = proc.mmap({ pages: 2 });
    proc.store32(buf, 1);
    proc.store32(buf + PAGE_SIZE, 2);
    expect(device.take(proc, buf, 2)).toBe(2);
    const own = ask(buf, 2, { all: WRITE, owner: device });
    expect(own.flags).toEqual([RW, RW]);
    expect(device.pagemap.contains(hmmPfnPage(own.words[1]!))).toBe(true);
    expect(ask(buf, 2, { owner: { name: 'device' } }).flags).toEqual([0, 0]);
    expect(device.faults).toBe(0);
    expect(ask(buf, 2, { all: READ }).flags).toEqual([RW, RW]);
    expect(device.faults).toBe(2);
    expect(proc.load32(buf + PAGE_SIZE)).toBe(2);
  });

  it('does not fault own memory that is read-only', () => {
    const buf = proc.mmap({ pages: 1 });
    proc.store32(buf, 1);
    proc.mprotect(buf, PAGE_SIZE, 'r');
    expect(device.take(proc, buf, 1)).toBe(1);
    const answer = ask(buf, 1, { all: WRITE, owner: device });
    expect(answer).toMatchObject({ result: 0, flags: [RO] });
  });

  it('answers -EFAULT for the memory of others before v5.19', () => {
    machine = new Machine({ era: 'v5.10' });
    proc = machine.createProcess();
    device = new SmallDevice(machine, 'device');
    notifier = watch();
    const buf = proc.mmap({ pages: 1 });
    proc.store32(buf, 1);
    expect(device.take(proc, buf, 1)).toBe(1);
    expect(ask(buf, 1, { all: READ }).result).toBe(-EFAULT);
    expect(ask(buf, 1).flags).toEqual([0]);
  });

  it('says -EBUSY when an invalidation came before, and wants mmap_lock', () => {
    const buf = proc.mmap({ pages: 1 });
    const range: HmmRange = {
      notifier,
      notifierSeq: notifier.invalidateSeq - 2,
      start: buf,
      end: buf + PAGE_SIZE,
      hmmPfns: new Uint32Array(1),
      defaultFlags: READ,
      pfnFlagsMask: 0,
      devPrivateOwner: null,
    };
    expect(() => machine.run(hmmRangeFault(range))).toThrow(/mmap_lock/);
    proc.mm.mmapLock.tryRead();
    expect(machine.run(hmmRangeFault(range))).toBe(-EBUSY);
    proc.mm.mmapLock.unlockRead();
  });

  it('walks over leaves and VMAs', () => {
    const buf = proc.mmap({ pages: 1200 });
    proc.mprotect(buf + 600 * PAGE_SIZE, 600 * PAGE_SIZE, 'r');
    const { result, flags } = ask(buf, 1200, { all: READ });
    expect(result).toBe(0);
    expect(new Set(flags)).toEqual(new Set([RO]));
    expect(proc.mm.rssAnon).toBe(0);
    expect(ask(buf, 600, { all: WRITE }).flags.every((word) => word === RW)).toBe(true);
    expect(proc.mm.rssAnon).toBe(600);
  });
});
