// Faults that a nouveau can be given back, each with it and without.
import { describe, expect, test } from 'vitest';
import { EBUSY } from '../../src/core/errno.ts';
import { SimError } from '../../src/core/errors.ts';
import { CountedFaults } from '../../src/core/fault-plan.ts';
import { ACCESS_SIGBUS } from '../../src/core/process.ts';
import type { NouveauOptions } from '../../src/drivers/nouveau/index.ts';
import { GpuLab } from './nouveau-lab.ts';

/** The code of the SimError that `act` ends in; null where it ends well. */
function codeOf(act: () => unknown): string | null {
  try {
    act();
  } catch (error) {
    if (error instanceof SimError) return error.code;
    throw error;
  }
  return null;
}

describe('an atomic fault is overtaken', () => {
  /** The page comes home from VRAM while the GPU takes it, which counts as an invalidation. */
  function labOf(options: NouveauOptions): { lab: GpuLab; va: number } {
    const lab = new GpuLab(options);
    const va = lab.buffer(1, 7);
    lab.bind(va, 1);
    return { lab, va };
  }

  test('it lets go of the page and tries again', () => {
    const { lab, va } = labOf({});
    expect(lab.file.execute([{ kind: 'atomic', va, value: 1 }]).ret).toBe(-EBUSY);
    expect(lab.proc.load32(va)).toBe(7);
    lab.verify();
  });

  test('keeps_lock: the next try waits for the lock that the first one kept', () => {
    const { lab, va } = labOf({ defects: ['keeps_lock'] });
    const job = (): unknown => lab.file.execute([{ kind: 'atomic', va, value: 1 }]);
    expect(job).toThrow(
      /nouveau0 fault worker waits for lock of page \d+, held by nouveau0 fault worker/,
    );
    const page = lab.machine.pageAt(lab.proc, va)!;
    expect(lab.machine.kernel.pages.isLocked(page)).toBe(true);
    expect(codeOf(() => lab.proc.load32(va))).toBe('deadlock');
  });

  test('keeps_lock: an access that is not overtaken is as it should be', () => {
    const lab = new GpuLab({ defects: ['keeps_lock'] });
    const va = lab.buffer(1, 7);
    expect(lab.execute([{ kind: 'atomic', va, value: 1 }])).toEqual([7]);
    expect(lab.proc.load32(va)).toBe(8);
  });
});

describe('a copy home fails', () => {
  const SECRET = 0x5ec2e7;

  /** Somebody else's page is the one that the next to ask for RAM will get. */
  function failedCopy(options: NouveauOptions): number {
    const lab = new GpuLab(options);
    const va = lab.buffer(1, 7);
    const other = lab.machine.createProcess();
    lab.bind(va, 1);
    const secret = other.mmap({ pages: 1 });
    other.store32(secret, SECRET);
    other.munmap(secret, lab.pageSize);
    lab.gpu.engine.failAfter(1);
    return lab.proc.tryLoad32(va);
  }

  test('the process is told', () => {
    expect(failedCopy({ mended: true })).toBe(ACCESS_SIGBUS);
    expect(failedCopy({})).toBe(ACCESS_SIGBUS);
  });

  test('unseen_copy_errors: the process reads what was never its own', () => {
    expect(failedCopy({ defects: ['unseen_copy_errors'] })).toBe(SECRET);
  });

  test('unseen_copy_errors: a copy that is done covers it', () => {
    const lab = new GpuLab({ defects: ['unseen_copy_errors'] });
    const va = lab.buffer(1, 7);
    lab.bind(va, 1);
    expect(lab.proc.load32(va)).toBe(7);
    expect(lab.gpu.dma.mapped).toBe(0);
    lab.verify();
  });
});

describe("faults on purpose, of the machine's plan", () => {
  function planned(lab: GpuLab): CountedFaults {
    const plan = new CountedFaults();
    lab.machine.kernel.faults = plan;
    return plan;
  }

  test('copy: the page stays where it is', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 7);
    planned(lab).after('copy', 2);
    lab.bind(va, 2);
    expect(lab.gpu.pagesInUse).toBe(1);
    expect(lab.machine.ownerOf(lab.proc, va)).toBe(lab.gpu);
    expect(lab.machine.ownerOf(lab.proc, lab.at(va, 1))).toBe('system');
  });

  test('dma_map: the page stays where it is', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 7);
    planned(lab).after('dma_map', 1);
    lab.bind(va, 1);
    expect(lab.gpu.pagesInUse).toBe(0);
    expect(lab.gpu.dma.mapped).toBe(0);
    lab.bind(va, 1);
    expect(lab.gpu.pagesInUse).toBe(1);
  });

  test('driver_memory: a bind without its arrays moves nothing', () => {
    const lab = new GpuLab();
    const va = lab.buffer(1, 7);
    planned(lab).after('driver_memory', 4);
    lab.bind(va, 1);
    expect(lab.gpu.pagesInUse).toBe(0);
  });

  test('fault_buffer: an access that finds it full is replayed all the same', () => {
    const lab = new GpuLab();
    const va = lab.buffer(2, 7);
    const plan = planned(lab);
    // The first access, and the replay of it.
    plan.after('fault_buffer', 1);
    plan.after('fault_buffer', 2);
    expect(lab.execute([{ kind: 'read', va }])).toEqual([7]);
    expect(lab.gpu.gpu.faultBuffer.overflows).toBe(2);
    expect(lab.gpu.gpu.lost).toBe(0);
  });

  test('a plan that fails nothing changes nothing', () => {
    const lab = new GpuLab();
    const va = lab.buffer(4, 7);
    planned(lab);
    lab.bind(va, 2);
    expect(lab.read(va, 4)).toEqual([7, 8, 9, 10]);
    expect(lab.proc.load32(va)).toBe(7);
  });
});

test('what a GPU loads and stores is told to who watches memory', () => {
  const lab = new GpuLab();
  const va = lab.buffer(1, 7);
  const told: string[] = [];
  lab.machine.kernel.watch = {
    stored: (pid, at, value) => told.push(`${pid} ${at - va} := ${value}`),
    loaded: (pid, at, value) => told.push(`${pid} ${at - va} = ${value}`),
    zapped: () => {},
    moved: () => {},
    overlapped: () => {},
    forked: () => {},
  };
  lab.execute([{ kind: 'atomic', va, value: 3 }]);
  lab.execute([{ kind: 'write', va: va + 4, value: 2 ** 32 - 1 }]);
  lab.execute([{ kind: 'read', va }]);
  expect(told).toEqual(['1 0 = 7', '1 0 := 10', '1 4 := 4294967295', '1 0 = 10']);
});
