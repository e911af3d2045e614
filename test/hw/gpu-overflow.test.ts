// The fault buffer is full: what waits without an entry, and who is told.

import { describe, expect, it } from 'vitest';
import { GPU_PTE_VALID as V } from '../../src/hw/gpu-page-table.ts';
import { access, issue, lab, PAGE, replay, take } from './gpu-lab.ts';

describe('a prefetch that misses', () => {
  it('is reported and waits for nothing', () => {
    const it = lab();
    const issued = issue(it, it.gpu.createInstance(), access('prefetch', PAGE));
    expect([issued.results, it.gpu.stalled, it.interrupts()]).toEqual([[0], 0, 1]);
    expect(take(it).map(({ access, addr }) => [access, addr])).toEqual([[3, PAGE]]);
    replay(it);
    expect(take(it)).toEqual([]);
  });

  it('and finds the buffer full is forgotten, for it is a hint', () => {
    const it = lab({ entries: 2 });
    const accesses = [access('prefetch', PAGE), access('prefetch', 2 * PAGE)];
    const issued = issue(it, it.gpu.createInstance(), ...accesses);
    expect([issued.results, it.gpu.lost, it.gpu.faultBuffer.overflows]).toEqual([[0, 0], 0, 1]);
    expect(take(it)).toHaveLength(1);
    expect(it.interrupts()).toBe(1);
  });
});

describe('an access that finds the buffer full', () => {
  /** Three reads where the buffer holds one entry. */
  function full() {
    const it = lab({ entries: 2 });
    const instance = it.gpu.createInstance();
    const issued = issue(it, instance, ...[1, 2, 3].map((vpn) => access('read', vpn * PAGE)));
    return { it, instance, issued };
  }

  it('waits without an entry, and the next replay reports it', () => {
    const { it, instance, issued } = full();
    expect([it.gpu.stalled, it.gpu.lost, it.gpu.faultBuffer.overflows]).toEqual([3, 2, 2]);
    for (const vpn of [1, 2, 3]) {
      expect(take(it).map(({ addr }) => addr)).toEqual([vpn * PAGE]);
      instance.pageTable.map(vpn, it.ram(vpn), V);
      replay(it);
    }
    expect(issued.results).toEqual([1, 2, 3]);
    expect([it.gpu.lost, it.gpu.interruptPending, it.gpu.faultBuffer.overflows]).toEqual([
      0,
      false,
      3,
    ]);
  });

  it('may have had an entry before', () => {
    const it = lab({ entries: 2 });
    const instance = it.gpu.createInstance();
    issue(it, instance, access('read', PAGE));
    take(it);
    issue(it, instance, access('prefetch', 2 * PAGE));
    expect(it.gpu.lost).toBe(0);
    replay(it);
    expect([it.gpu.lost, it.interrupts()]).toEqual([1, 2]);
    expect(take(it).map(({ addr }) => addr)).toEqual([2 * PAGE]);
    expect(it.interrupts()).toBe(3);
    replay(it);
    expect([it.gpu.lost, take(it).map(({ addr }) => addr)]).toEqual([0, [PAGE]]);
  });

  it('interrupts when the driver has read what there was', () => {
    const { it } = full();
    expect(it.interrupts()).toBe(1);
    take(it);
    expect([it.interrupts(), it.gpu.interruptPending]).toEqual([2, true]);
  });

  it('does not interrupt while there is something to read', () => {
    const it = lab({ entries: 3 });
    const instance = it.gpu.createInstance();
    issue(it, instance, ...[1, 2, 3].map((vpn) => access('read', vpn * PAGE)));
    it.gpu.faultBuffer.get = 1;
    expect(it.interrupts()).toBe(1);
    it.gpu.faultBuffer.get = 2;
    expect(it.interrupts()).toBe(2);
  });

  it('interrupts again when a channel died, for then perhaps nobody replays', () => {
    const { it } = full();
    const other = it.gpu.createInstance();
    const waiting = issue(it, other, access('read', PAGE));
    const [entry] = take(it);
    it.gpu.cancel(entry!);
    expect([it.interrupts(), it.gpu.lost]).toEqual([3, 1]);
    it.gpu.cancel(entry!);
    expect(it.interrupts()).toBe(4);
    replay(it);
    expect(take(it).map(({ inst }) => inst)).toEqual([other.inst]);
    expect(waiting.results).toBeNull();
  });
});
