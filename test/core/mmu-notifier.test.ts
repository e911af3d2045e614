// Notifiers of a whole address space, beside those of intervals.

import { describe, expect, it } from 'vitest';
import { EAGAIN } from '../../src/core/errno.ts';
import { type MmuNotifier, NOTIFIER_IGNORED } from '../../src/core/hmm/mmu-notifier.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalSetSeq,
  type NotifierRange,
} from '../../src/core/hmm/notifier.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Process } from '../../src/core/process.ts';
import { Delay, type MaybeTask, type Task } from '../../src/core/sched/task.ts';
import { PAGE_SIZE } from '../../src/core/units.ts';
import { codeOf } from './tasks.ts';

/** A process, and what its notifiers heard: the name of each, with the event. */
function lab(): { machine: Machine; proc: Process; heard: string[] } {
  const machine = new Machine();
  return { machine, proc: machine.createProcess(), heard: [] };
}

function notifier(
  name: string,
  heard: string[],
  answer: () => MaybeTask<number> = () => 0,
): MmuNotifier {
  return {
    name,
    invalidateRangeStart({ event }) {
      heard.push(`${name} ${event}`);
      return answer();
    },
  };
}

function nonblock(proc: Process): NotifierRange {
  return { mm: proc.mm, start: 0, end: 4096, event: 'clear', owner: null, blockable: false };
}

function* slowly(heard: string[]): Task<number> {
  yield new Delay(5);
  heard.push('woke up');
  return 0;
}

describe('notifiers of an address space', () => {
  it('hear every change, the latest first, after all intervals', () => {
    const { proc, heard } = lab();
    const { wholeSpace } = proc.mm.notifiers;
    wholeSpace.add(notifier('one', heard));
    wholeSpace.add(notifier('two', heard));
    mmuIntervalNotifierInsert(proc.mm, {
      name: 'interval',
      invalidate(interval, { event }, seq) {
        heard.push(`interval ${event}`);
        mmuIntervalSetSeq(interval, seq);
        return true;
      },
    });
    const va = proc.mmap({ pages: 1 });
    proc.munmap(va, PAGE_SIZE);
    expect(heard).toEqual(['interval unmap', 'two unmap', 'one unmap']);
  });

  it('may sleep, and those behind them wait', () => {
    const { machine, proc, heard } = lab();
    const { wholeSpace } = proc.mm.notifiers;
    wholeSpace.add(notifier('last', heard));
    wholeSpace.add(notifier('slow', heard, () => slowly(heard)));
    const va = proc.mmap({ pages: 1 });
    proc.munmap(va, PAGE_SIZE);
    expect(heard).toEqual(['slow unmap', 'woke up', 'last unmap']);
    expect(machine.scheduler.nowNs).toBe(5);
    expect(machine.verify()).toEqual([]);
  });

  it('hear it also where one goes that is just being told', () => {
    const { proc, heard } = lab();
    const { wholeSpace } = proc.mm.notifiers;
    wholeSpace.add(notifier('last', heard));
    const going: MmuNotifier = notifier('going', heard, () => {
      wholeSpace.remove(going);
      return 0;
    });
    wholeSpace.add(going);
    const va = proc.mmap({ pages: 1 });
    proc.munmap(va, PAGE_SIZE);
    expect(heard).toEqual(['going unmap', 'last unmap']);
    expect(wholeSpace.size).toBe(1);
  });

  it('hear nothing once removed', () => {
    const { proc, heard } = lab();
    const { wholeSpace } = proc.mm.notifiers;
    const one = notifier('one', heard);
    wholeSpace.add(one);
    wholeSpace.remove(one);
    wholeSpace.remove(one);
    const va = proc.mmap({ pages: 1 });
    proc.munmap(va, PAGE_SIZE);
    expect(heard).toEqual([]);
  });

  it('hear of the end of the process by `release` alone', () => {
    const { proc, heard } = lab();
    const { wholeSpace } = proc.mm.notifiers;
    wholeSpace.add(notifier('deaf', heard));
    wholeSpace.add({ ...notifier('told', heard), release: () => heard.push('told release') });
    proc.mmap({ pages: 1 });
    proc.exit();
    expect(heard).toEqual(['told release']);
    expect(wholeSpace.size).toBe(0);
  });

  it('may let a change pass, which events tell', () => {
    const { machine, proc, heard } = lab();
    proc.mm.notifiers.wholeSpace.add(notifier('one', heard, () => NOTIFIER_IGNORED));
    const told: [string, boolean][] = [];
    machine.events.on('invalidate_call', (event) => told.push([event.notifier, event.ignored]));
    const va = proc.mmap({ pages: 1 });
    proc.munmap(va, PAGE_SIZE);
    expect(told).toEqual([['one', true]]);
  });
});

describe('a change that may not wait', () => {
  it('0 where nobody has to sleep; it ends as any other', () => {
    const { machine, proc, heard } = lab();
    proc.mm.notifiers.wholeSpace.add(notifier('one', heard));
    const range = nonblock(proc);
    expect(proc.mm.notifiers.startNonblock(range)).toBe(0);
    expect(proc.mm.notifiers.activeInvalidations).toBe(1);
    proc.mm.notifiers.end(range);
    expect(machine.verify()).toEqual([]);
  });

  it('-EAGAIN where one refuses, after all were asked, and nothing is left open', () => {
    const { machine, proc, heard } = lab();
    const { notifiers } = proc.mm;
    notifiers.wholeSpace.add(notifier('last', heard));
    notifiers.wholeSpace.add(notifier('busy', heard, () => -EAGAIN));
    expect(notifiers.startNonblock(nonblock(proc))).toBe(-EAGAIN);
    expect(heard).toEqual(['busy clear', 'last clear']);
    expect(machine.verify()).toEqual([]);
  });

  it('-EAGAIN where one wants to sleep, which then does not begin', () => {
    const { machine, proc, heard } = lab();
    const { notifiers } = proc.mm;
    notifiers.wholeSpace.add(notifier('slow', heard, () => slowly(heard)));
    expect(notifiers.startNonblock(nonblock(proc))).toBe(-EAGAIN);
    expect(heard).toEqual(['slow clear']);
    expect(machine.verify()).toEqual([]);
  });

  it('-EAGAIN where an interval refuses or wants to sleep; the address space is not asked', () => {
    const { machine, proc, heard } = lab();
    const { notifiers } = proc.mm;
    notifiers.wholeSpace.add(notifier('one', heard));
    let answer: () => MaybeTask<boolean> = () => false;
    mmuIntervalNotifierInsert(proc.mm, { name: 'interval', invalidate: () => answer() });
    expect(notifiers.startNonblock(nonblock(proc))).toBe(-EAGAIN);
    answer = function* (): Task<boolean> {
      yield new Delay(1);
      return true;
    };
    expect(notifiers.startNonblock(nonblock(proc))).toBe(-EAGAIN);
    expect(heard).toEqual([]);
    expect(machine.verify()).toEqual([]);
  });

  it('must say so', () => {
    const { proc } = lab();
    const range: NotifierRange = { mm: proc.mm, start: 0, end: 1, event: 'clear', owner: null };
    expect(codeOf(() => proc.mm.notifiers.startNonblock(range))).toBe('invariant');
  });
});
