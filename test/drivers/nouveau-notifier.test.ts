// How nouveau hears of changes: facts 8.5 (the two notifiers) and 8.6 (sharing an address space).

import { describe, expect, it } from 'vitest';
import { EAGAIN, EBUSY, EINVAL, ENODEV, ENOMEM, ENOSYS } from '../../src/core/errno.ts';
import {
  type IntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalSetSeq,
  type NotifierRange,
  type NotifyEvent,
} from '../../src/core/hmm/notifier.ts';
import type { Owner } from '../../src/core/pagemap/pagemap.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import { PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { Nouveau } from '../../src/drivers/nouveau/index.ts';
import { GpuLab } from './nouveau-lab.ts';

/** Tells the process's notifiers that [start, end) changes; nothing else happens to it. */
function notify(
  lab: GpuLab,
  start: Va,
  end: Va,
  event: NotifyEvent,
  owner: Owner | null = null,
): void {
  const { mm } = lab.proc;
  const range: NotifierRange = { mm, start, end, event, owner };
  lab.machine.run(
    (function* (): Task<void> {
      const waiting = mm.notifiers.start(range);
      if (waiting !== undefined) yield* waiting;
      mm.notifiers.end(range);
    })(),
  );
}

/** Four pages of RAM that the GPU maps. */
function mapped(pages = 4, lab: GpuLab = new GpuLab()): { lab: GpuLab; va: Va } {
  const va = lab.buffer(pages, 5);
  lab.write(va, pages, 5);
  expect(lab.mappings(va, pages)).toEqual(new Array(pages).fill('rw'));
  return { lab, va };
}

describe('8.5 the notifier of the address space', () => {
  it('-EAGAIN where it may not sleep, and the GPU keeps its mappings', () => {
    const { lab, va } = mapped(1);
    const { mm } = lab.proc;
    const range: NotifierRange = {
      mm,
      start: va,
      end: lab.at(va, 1),
      event: 'clear',
      owner: null,
      blockable: false,
    };
    expect(mm.notifiers.startNonblock(range)).toBe(-EAGAIN);
    expect(lab.mappings(va, 1)).toEqual(['rw']);
    lab.verify();
  });

  it('clears what changes and no page more', () => {
    const { lab, va } = mapped();
    notify(lab, lab.at(va, 1), lab.at(va, 3), 'clear');
    expect(lab.mappings(va, 4)).toEqual(['rw', null, null, 'rw']);
  });

  it('clears on every event, also on a migration by somebody else', () => {
    const events: NotifyEvent[] = [
      'unmap',
      'clear',
      'protection_vma',
      'protection_page',
      'exclusive',
    ];
    for (const event of events) {
      const { lab, va } = mapped(1);
      notify(lab, va, lab.at(va, 1), event, event === 'exclusive' ? lab.gpu : null);
      expect(lab.mappings(va, 1)).toEqual([null]);
    }
    const { lab, va } = mapped(1);
    notify(lab, va, lab.at(va, 1), 'migrate', new Nouveau({ name: 'other' }));
    expect(lab.mappings(va, 1)).toEqual([null]);
  });

  it('lets a migration by its own GPU pass', () => {
    const { lab, va } = mapped(1);
    const told = lab.eventsOf(() => notify(lab, va, lab.at(va, 1), 'migrate', lab.gpu));
    expect(lab.mappings(va, 1)).toEqual(['rw']);
    expect(told.find(({ kind }) => kind === 'invalidate_call')).toMatchObject({
      notifier: 'nouveau0',
      ignored: true,
    });
  });

  it('does nothing once the client has gone', () => {
    const { lab, va } = mapped(1);
    const { svmm } = lab.file;
    lab.file.close();
    expect(svmm!.vmm).toBeNull();
    expect(lab.proc.mm.notifiers.wholeSpace.size).toBe(0);
    notify(lab, va, lab.at(va, 1), 'clear');
    expect(
      svmm!.invalidateRangeStart({
        mm: lab.proc.mm,
        start: va,
        end: lab.at(va, 1),
        event: 'clear',
        owner: null,
      }),
    ).toBe(0);
  });

  it('waits for the lock of the address space', () => {
    const { lab, va } = mapped(1);
    const { mutex } = lab.file.svmm!;
    lab.machine.run(mutex.lock());
    const order: string[] = [];
    lab.machine.spawn(
      'munmap',
      (function* (): Task<void> {
        yield* lab.proc.munmapTask(va, PAGE_SIZE);
        order.push('unmapped');
      })(),
    );
    lab.machine.spawn(
      'holder',
      (function* (): Task<void> {
        yield new Delay(10);
        order.push('unlocked');
        mutex.unlock();
      })(),
    );
    lab.machine.runAll();
    expect(order).toEqual(['unlocked', 'unmapped']);
    lab.verify();
  });

  it('comes after every interval notifier', () => {
    const { lab, va } = mapped(1);
    let seen: string | null | undefined;
    const notifier = mmuIntervalNotifierInsert(lab.proc.mm, {
      name: 'watcher',
      invalidate(one: IntervalNotifier, _: NotifierRange, seq: number): boolean {
        seen = lab.gpu.mappingOf(lab.proc, va);
        mmuIntervalSetSeq(one, seq);
        return true;
      },
    });
    expect(typeof notifier).toBe('object');
    notify(lab, va, lab.at(va, 1), 'clear');
    expect(seen).toBe('rw');
    expect(lab.mappings(va, 1)).toEqual([null]);
  });
});

describe('8.5 the unmanaged window', () => {
  /** Eight pages mapped directly, of which pages 3 and 4 are the client's own. */
  function withWindow(): { lab: GpuLab; va: Va } {
    const lab = new GpuLab();
    const va = lab.buffer(8, 5);
    const proc = lab.machine.createProcess();
    const addr = proc.mmap({ pages: 8, addr: va });
    expect(addr).toBe(va);
    for (let i = 0; i < 8; i++) proc.store32(lab.at(va, i), i);
    const file = lab.gpu.open(proc, { svm: false });
    const init = { unmanagedAddr: lab.at(va, 3), unmanagedSize: 2 * PAGE_SIZE };
    expect(file.svmInit(init)).toBe(0);
    const { vmm } = file.svmm!;
    // What the client put there itself.
    for (let i = 0; i < 8; i++) vmm!.map(lab.at(va, i) / PAGE_SIZE, 1, 1);
    return { lab: Object.assign(lab, { proc, files: [file] }), va };
  }

  const rows: readonly (readonly [string, number, number, string])[] = [
    ['below', 0, 2, '..rrrrrr'],
    ['up to its start', 1, 3, 'r..rrrrr'],
    ['inside', 3, 5, 'rrrrrrrr'],
    ['from inside to above', 4, 7, 'rrrrr..r'],
    ['above', 5, 8, 'rrrrr...'],
    // Here the window itself is cleared, too.
    ['over it', 2, 6, 'rr....rr'],
    ['from below into it', 1, 4, 'r....rrr'],
  ];

  it.each(rows)('a change %s', (_, first, end, left) => {
    const { lab, va } = withWindow();
    notify(lab, lab.at(va, first), lab.at(va, end), 'clear');
    const drawn = lab.mappings(va, 8).map((one) => one ?? '.');
    expect(drawn.join('')).toBe(left);
  });

  it('takes no page of the shared address space', () => {
    const { lab, va } = withWindow();
    lab.file.svmm!.vmm!.unmap(0, 2 ** 40);
    lab.bind(va, 8);
    const drawn = lab.mappings(va, 8).map((one) => (one === null ? '.' : one));
    expect(drawn).toEqual(['rw', 'rw', 'rw', '.', '.', 'rw', 'rw', 'rw']);
    expect(lab.owners(va, 8)).toEqual(new Array(8).fill('nouveau0'));
  });
});

describe('8.5 the notifier of a fault', () => {
  /** Calls `look` with it while a fault waits for another GPU's copy engine. */
  function during(look: (lab: GpuLab, notifier: IntervalNotifier, va: Va) => void): void {
    const lab = new GpuLab({ gpus: 2, copyLatencyNs: 1000 });
    const va = lab.buffer(1, 5);
    lab.bind(va, 1, lab.files[1]);
    const { notifiers } = lab.proc.mm;
    expect(notifiers.intervals).toEqual([]);
    let looked = false;
    lab.machine.spawn('job', lab.file.executeTask([{ kind: 'read', va }]));
    lab.machine.spawn(
      'look',
      (function* (): Task<void> {
        yield new Delay(10);
        look(lab, notifiers.intervals[0]!, va);
        looked = true;
      })(),
    );
    lab.machine.runAll();
    expect(looked).toBe(true);
    expect(notifiers.intervals).toEqual([]);
    lab.verify();
  }

  function rangeOf(lab: GpuLab, va: Va, event: NotifyEvent, owner: Owner | null): NotifierRange {
    return { mm: lab.proc.mm, start: va, end: lab.at(va, 1), event, owner };
  }

  it('watches the one page', () => {
    during((lab, { start, end }, va) => {
      expect([start, end]).toEqual([va, lab.at(va, 1)]);
    });
  });

  const rows: readonly (readonly [NotifyEvent, 'nobody' | 'itself' | 'another', boolean])[] = [
    ['exclusive', 'itself', false],
    ['exclusive', 'another', true],
    ['exclusive', 'nobody', true],
    ['migrate', 'itself', true],
    ['migrate', 'another', true],
    ['clear', 'nobody', true],
    ['unmap', 'nobody', true],
  ];

  it.each(rows)('%s in the name of %s: overtaken %s', (event, who, overtaken) => {
    during((lab, notifier, va) => {
      const owner = who === 'nobody' ? null : lab.gpus[who === 'itself' ? 0 : 1]!;
      const range = rangeOf(lab, va, event, owner);
      const seq = notifier.invalidateSeq + 2;
      lab.file.svmm!.vmm!.map(va / PAGE_SIZE, 1, 1);
      expect(notifier.ops.invalidate(notifier, range, seq)).toBe(true);
      expect(notifier.invalidateSeq === seq).toBe(overtaken);
      // It leaves the clearing to the other notifier.
      expect(lab.mappings(va, 1)).toEqual(['r']);
      lab.file.svmm!.vmm!.unmap(va / PAGE_SIZE, va / PAGE_SIZE + 1);
    });
  });

  it('refuses where it may not sleep and the lock is taken', () => {
    during((lab, notifier, va) => {
      const { mutex } = lab.file.svmm!;
      expect(mutex.tryLock()).toBe(true);
      const range = { ...rangeOf(lab, va, 'clear', null), blockable: false };
      expect(notifier.ops.invalidate(notifier, range, 99)).toBe(false);
      expect(lab.proc.mm.notifiers.startNonblock(range)).toBe(-EAGAIN);
      mutex.unlock();
      expect(notifier.ops.invalidate(notifier, range, notifier.invalidateSeq)).toBe(true);
    });
  });
});

describe('8.6 SVM init', () => {
  it('-ENOSYS on a GPU newer than Pascal', () => {
    const lab = new GpuLab({ svm: false });
    expect(lab.file.svmInit()).toBe(-ENOSYS);
    expect(lab.file.svmm).toBeNull();
    expect(lab.file.execute([{ kind: 'read', va: 0 }])).toEqual({ ret: -EINVAL, results: [-1] });
  });

  it('-ENOMEM without memory for the object, and nothing is left behind', () => {
    const lab = new GpuLab();
    const proc = lab.machine.createProcess();
    const file = lab.gpu.open(proc, { svm: false });
    lab.gpu.failAllocationAfter(1);
    expect(file.svmInit()).toBe(-ENOMEM);
    expect(file.svmm).toBeNull();
    expect(file.channel).toBeNull();
    expect(proc.mm.notifiers.wholeSpace.size).toBe(0);
    expect(file.svmInit()).toBe(0);
  });

  it('asks for memory after it has seen whether it can share, before anything else', () => {
    const newer = new GpuLab({ svm: false });
    newer.gpu.failAllocationAfter(1);
    expect(newer.file.svmInit()).toBe(-ENOSYS);
    const lab = new GpuLab();
    lab.gpu.failAllocationAfter(1);
    expect(lab.file.svmInit()).toBe(-ENOMEM);
    expect(lab.file.svmInit()).toBe(-EBUSY);
  });

  it('-EBUSY where the client has done so already', () => {
    const lab = new GpuLab();
    const { svmm } = lab.file;
    expect(lab.file.svmInit()).toBe(-EBUSY);
    expect(lab.file.svmm).toBe(svmm);
    expect(lab.proc.mm.notifiers.wholeSpace.size).toBe(1);
  });

  it('-EINVAL where the process is gone: no notifier can be registered', () => {
    const lab = new GpuLab();
    const proc = lab.machine.createProcess();
    const file = lab.gpu.open(proc, { svm: false });
    proc.exit();
    expect(file.svmInit()).toBe(-EINVAL);
  });

  const windows: readonly (readonly [string, Va, number, number])[] = [
    ['ends at 2^49', 2 ** 49 - PAGE_SIZE, PAGE_SIZE, 0],
    ['is all there is', 0, 2 ** 49, 0],
    ['ends beyond 2^49', 2 ** 49 - PAGE_SIZE, 2 * PAGE_SIZE, -EINVAL],
    ['starts beyond 2^49', 2 ** 50, 0, -EINVAL],
    ['wraps', -PAGE_SIZE, 2 * PAGE_SIZE, -EINVAL],
    ['is of negative size', PAGE_SIZE, -PAGE_SIZE, -EINVAL],
    ['is no number', Number.NaN, 0, -EINVAL],
  ];

  it.each(windows)('an unmanaged window that %s', (_, unmanagedAddr, unmanagedSize, ret) => {
    const lab = new GpuLab();
    const proc = lab.machine.createProcess();
    const file = lab.gpu.open(proc, { svm: false });
    expect(file.svmInit({ unmanagedAddr, unmanagedSize })).toBe(ret);
    expect(proc.mm.notifiers.wholeSpace.size).toBe(ret === 0 ? 1 : 0);
    // A call that was refused leaves nothing behind that the next one could trip over.
    expect(file.svmInit()).toBe(ret === 0 ? -EBUSY : 0);
  });

  it('-ENODEV where the GPU is gone', () => {
    const lab = new GpuLab();
    const file = lab.gpu.open(lab.machine.createProcess(), { svm: false });
    lab.gpu.remove();
    expect(file.svmInit()).toBe(-ENODEV);
  });

  it('registers the notifier, and a second client of a process its own', () => {
    const lab = new GpuLab();
    const second = lab.gpu.open(lab.proc);
    expect(lab.proc.mm.notifiers.wholeSpace.size).toBe(2);
    second.close();
    expect(lab.proc.mm.notifiers.wholeSpace.size).toBe(1);
    lab.proc.exit();
    expect(lab.gpu.files).toEqual([]);
  });

  it('keeps the unmanaged window', () => {
    const lab = new GpuLab();
    const file = lab.gpu.open(lab.machine.createProcess(), { svm: false });
    expect(file.svmInit({ unmanagedAddr: 0x1000, unmanagedSize: 0x3000 })).toBe(0);
    expect(file.svmm!.unmanaged).toEqual({ start: 0x1000, limit: 0x4000 });
  });
});
