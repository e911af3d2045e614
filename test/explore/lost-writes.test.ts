// The check on lost writes, told of accesses by hand and by machines that are in order.

import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import type { Process, Prot } from '../../src/core/process.ts';
import { MiB, PAGE_SIZE, type Va } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/device.ts';
import { LostWrites } from '../../src/explore/lost-writes.ts';

interface Lab {
  readonly machine: Machine;
  readonly proc: Process;
  readonly device: Dmirror;
  readonly watch: LostWrites;
}

function lab(): Lab {
  const machine = new Machine({ ramBytes: MiB });
  const device = machine.attach(new Dmirror({ chunkBytes: MiB }));
  const proc = machine.createProcess();
  const watch = new LostWrites(machine);
  machine.kernel.watch = watch;
  return { machine, proc, device, watch };
}

function mapped(proc: Process, options: { shared?: boolean; prot?: Prot } = {}): Va {
  return proc.mmap({ pages: 2, ...options });
}

/** What the watch found, at rest too. */
function found({ watch }: Lab): string[] {
  watch.atRest();
  return watch.failures.map(({ message }) => message);
}

describe('memory that keeps what was stored', () => {
  it('has nothing to be told of: CPU, device, migrations, fork, mremap, dontneed, files', () => {
    const one = lab();
    const { machine, proc, device } = one;
    const file = device.open(proc);
    const va = mapped(proc);
    const shared = mapped(proc, { shared: true });
    const backed = proc.mmap({ pages: 2, file: proc.createFile(2, (i) => 70 + i) });
    for (const at of [va, shared, backed]) {
      expect(proc.load32(at)).toBe(at === backed ? 70 : 0);
      proc.store32(at, 5);
      proc.store32(at + 4, 6);
      file.migrateToDev(at, 2);
      expect(file.read(at, 1).data[0]).toBe(5);
      expect(proc.load32(at + 4)).toBe(6);
    }
    const child = proc.fork();
    proc.store32(va, 7);
    proc.store32(shared, 8);
    expect([child.load32(va), child.load32(shared)]).toEqual([5, 8]);
    child.store32(va, 9);
    proc.dontneed(va, PAGE_SIZE);
    expect([proc.load32(va), child.load32(va)]).toEqual([0, 9]);
    proc.mremap(va, PAGE_SIZE, 0x5000_0000_0000);
    expect(proc.load32(0x5000_0000_0000)).toBe(0);
    proc.munmap(shared, PAGE_SIZE);
    expect(child.load32(shared)).toBe(8);
    child.exit();
    expect(found(one)).toEqual([]);
    expect(machine.verify()).toEqual([]);
  });
});

describe('a lost write', () => {
  it('is told when it is loaded, once, with who stored it', () => {
    const one = lab();
    const { machine, proc, watch } = one;
    const va = mapped(proc);
    proc.store32(va, 5);
    machine.kernel.pages.write32(machine.pageAt(proc, va)!, 0, 4);
    expect(proc.load32(va)).toBe(4);
    expect(proc.load32(va)).toBe(4);
    const name = `0x${va.toString(16)} of process 1`;
    expect(found(one)).toEqual([`${name}: caller loads 4, expected 5 (caller stored it last)`]);
    proc.store32(va, 6);
    machine.kernel.pages.write32(machine.pageAt(proc, va)!, 0, 4);
    proc.load32(va);
    expect(watch.failures).toHaveLength(2);
  });

  it('is found at rest although nobody loads it', () => {
    const one = lab();
    const { machine, proc } = one;
    const va = mapped(proc);
    const shared = mapped(proc, { shared: true });
    proc.store32(va, 5);
    proc.store32(shared + 8, 6);
    machine.kernel.pages.write32(machine.pageAt(proc, va)!, 0, 0);
    machine.kernel.pages.write32(machine.pageAt(proc, shared)!, 2, 0);
    expect(found(one)).toEqual([
      `0x${va.toString(16)} of process 1: at the end there is 0, expected 5 (caller stored it last)`,
      `0x${(shared + 8).toString(16)} of process 1: at the end there is 0, expected 6 (caller stored it last)`,
    ]);
  });

  it('is anything but 0 in anonymous memory that nobody stored to', () => {
    const one = lab();
    const { machine, proc } = one;
    const va = mapped(proc);
    proc.store32(va + 4, 1);
    machine.kernel.pages.write32(machine.pageAt(proc, va)!, 0, 3);
    proc.load32(va);
    expect(found(one)[0]).toMatch(/loads 3, expected 0 \(nobody stored anything\)$/);
  });

  it('is a page that keeps its contents beyond madvise', () => {
    const one = lab();
    const { machine, proc } = one;
    const va = mapped(proc);
    proc.store32(va, 5);
    proc.dontneed(va, PAGE_SIZE);
    proc.store32(va + 4, 1);
    machine.kernel.pages.write32(machine.pageAt(proc, va)!, 0, 5);
    proc.load32(va);
    expect(found(one)[0]).toMatch(/loads 5, expected 0/);
  });
});
