// What a process refuses, and what migrations tell of themselves.
import { describe, expect, it } from 'vitest';
import type { MigrateEvent } from '../../src/core/events/types.ts';
import { Machine } from '../../src/core/machine.ts';
import { MiB, PAGE_SIZE } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';

function mirrored() {
  const machine = new Machine({ ramBytes: 64 * MiB });
  const device = machine.attach(new Dmirror({ type: 'private' }));
  const proc = machine.createProcess();
  return { machine, device, proc, file: device.open(proc), va: proc.mmap({ pages: 4 }) };
}

describe('a process', () => {
  it('loads and stores whole words only, whether the page is there or not', () => {
    const { proc, va } = mirrored();
    for (const at of [va + 1, va + 2, va + 0.5]) {
      expect(() => proc.load32(at)).toThrow('not a multiple of 4');
      expect(() => proc.store32(at, 9)).toThrow('not a multiple of 4');
    }
    proc.store32(va, 7);
    for (const at of [va + 1, va + 2, va + 0.5]) {
      expect(() => proc.load32(at)).toThrow('not a multiple of 4');
      expect(() => proc.store32(at, 9)).toThrow('not a multiple of 4');
    }
    expect(proc.load32(va)).toBe(7);
  });

  it('does nothing after its exit', () => {
    const { proc, va } = mirrored();
    proc.exit();
    const calls = [
      () => proc.mmap({ pages: 1 }),
      () => proc.munmap(va, PAGE_SIZE),
      () => proc.mprotect(va, PAGE_SIZE, 'r'),
      () => proc.dontneed(va, PAGE_SIZE),
      () => proc.mremap(va, PAGE_SIZE, va + MiB),
      () => proc.fork(),
      () => proc.load32(va),
      () => proc.store32(va, 1),
    ];
    for (const call of calls) expect(call).toThrow('has exited');
  });
});

describe('the migrate event', () => {
  it('ends, with counts and places, for every way a migration goes', () => {
    const { machine, device, proc, file, va } = mirrored();
    const ends: unknown[] = [];
    let open = 0;
    machine.events.on('migrate', (event: MigrateEvent) => {
      open += event.phase === 'begin' ? 1 : -1;
      if (event.phase === 'begin') return;
      const { cause, from, to, selected, migrated } = event;
      ends.push([cause, from, to, selected, migrated]);
    });
    proc.store32(va, 1);
    file.migrateToDev(va, 1);
    file.migrateToDev(va + PAGE_SIZE, 3);
    proc.load32(va);
    file.migrateToSys(va, 1);
    file.releaseChunks();
    expect(open).toBe(0);
    expect(ends).toEqual([
      ['driver', 'system', device, 1, 1],
      ['driver', null, device, 3, 3],
      ['cpu_fault', device, 'system', 1, 1],
      ['driver', undefined, undefined, 0, 0],
      ['evict', device, 'system', 3, 3],
    ]);
    expect(machine.verify()).toEqual([]);
  });

  it('has its steps in order, the one of the driver among them', () => {
    const { machine, proc, file, va } = mirrored();
    const steps: string[] = [];
    proc.store32(va, 1);
    machine.events.on('migrate_phase', ({ step, phase }) => steps.push(`${step} ${phase}`));
    file.migrateToDev(va, 1);
    const order = ['collect', 'unmap', 'alloc_copy', 'pages', 'finalize'];
    expect(steps).toEqual(order.flatMap((step) => [`${step} begin`, `${step} end`]));
  });
});
