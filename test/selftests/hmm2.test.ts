// The kernel's own HMM self-tests, by their names and with what they assert: those with two devices.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EINVAL, ENOENT } from '../../src/core/errno.ts';
import { PAGE_SIZE } from '../../src/core/units.ts';
import {
  HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL,
  HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE,
  HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL,
  HMM_DMIRROR_PROT_ERROR,
  HMM_DMIRROR_PROT_NONE,
  HMM_DMIRROR_PROT_READ,
  HMM_DMIRROR_PROT_WRITE,
  HMM_DMIRROR_PROT_ZERO,
} from '../../src/drivers/dmirror/index.ts';
import { ascending, HmmFixture } from './fixture.ts';

describe.each(['private', 'coherent'] as const)('hmm2.hmm2_device_%s', (type) => {
  let self: HmmFixture;

  beforeEach(() => {
    self = new HmmFixture(type);
  });

  afterEach(() => {
    self.tearDown();
  });

  it('migrate_mixed', () => {
    const { devices, fd, fd1, machine, proc } = self;
    const va = self.map(6, { prot: 'n' });
    const page = (i: number) => va + i * PAGE_SIZE;
    expect(fd1.migrateToDev(va, 6).ret).toBe(-EINVAL);
    // A hole after the first page.
    expect(proc.munmap(page(1), PAGE_SIZE)).toBe(0);
    expect(fd1.migrateToDev(va, 3).ret).toBe(-EINVAL);
    // Page 2 is the zero page, page 3 read-only with data, 4 and 5 read-write with data.
    expect(proc.mprotect(page(2), PAGE_SIZE, 'r')).toBe(0);
    const value = proc.load32(page(2)) + 3;
    expect(value).toBe(3);
    expect(proc.mprotect(page(3), PAGE_SIZE, 'rw')).toBe(0);
    proc.store32(page(3), value);
    expect(proc.mprotect(page(3), PAGE_SIZE, 'r')).toBe(0);
    expect(proc.mprotect(page(4), 2 * PAGE_SIZE, 'rw')).toBe(0);
    proc.store32(page(4), value);
    proc.store32(page(5), value);

    self.expectMigrates(page(2), Uint32Array.of(0, value, value, value), fd1);
    // Page 5 does not come to the other device, for it has an owner.
    expect(fd.migrateToDev(page(5), 1).ret).toBe(-ENOENT);
    expect(machine.ownerOf(proc, page(5))).toBe(devices[1]);
    self.free(va, 6);
  });

  it('snapshot', () => {
    const { fd, fd1, proc } = self;
    const va = self.map(7, { prot: 'n' });
    const page = (i: number) => va + i * PAGE_SIZE;
    expect(proc.munmap(page(1), PAGE_SIZE)).toBe(0);
    expect(proc.mprotect(page(2), PAGE_SIZE, 'r')).toBe(0);
    const value = proc.load32(page(2)) + 3;
    expect(value).toBe(3);
    expect(proc.mprotect(page(3), PAGE_SIZE, 'rw')).toBe(0);
    proc.store32(page(3), value);
    expect(proc.mprotect(page(3), PAGE_SIZE, 'r')).toBe(0);
    expect(proc.mprotect(page(4), 3 * PAGE_SIZE, 'rw')).toBe(0);
    proc.store32(page(4), value);
    expect(fd.migrateToDev(page(5), 1)).toMatchObject({ ret: 0, cpages: 1 });
    expect(fd1.migrateToDev(page(6), 1)).toMatchObject({ ret: 0, cpages: 1 });

    const { ret, cpages, perms } = fd.snapshot(va, 7);
    expect({ ret, cpages }).toEqual({ ret: 0, cpages: 7 });
    const write = HMM_DMIRROR_PROT_WRITE;
    const onDevices = self.isCoherent
      ? [HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL | write, HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE | write]
      : [HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL | write, HMM_DMIRROR_PROT_NONE];
    expect([...perms]).toEqual([
      HMM_DMIRROR_PROT_ERROR,
      HMM_DMIRROR_PROT_ERROR,
      HMM_DMIRROR_PROT_ZERO | HMM_DMIRROR_PROT_READ,
      HMM_DMIRROR_PROT_READ,
      HMM_DMIRROR_PROT_WRITE,
      ...onDevices,
    ]);
    self.free(va, 7);
  });

  it('double_map', () => {
    const { devices, fd, fd1, machine, proc } = self;
    const values = ascending(6);
    const va = self.filled(6);
    expect(proc.mprotect(va, 6 * PAGE_SIZE, 'r')).toBe(0);
    self.expectReads(va, values, fd);
    self.expectReads(va, values, fd1);
    self.expectMigrates(va, values, fd1);
    expect(machine.ownerOf(proc, va)).toBe(devices[1]);
    // The other device cannot use private memory of this one: it comes home.
    self.expectReads(va, values, fd);
    expect(machine.ownerOf(proc, va)).toBe(self.isCoherent ? devices[1] : 'system');
    self.expectStored(va, values);
    self.free(va, 6);
  });
});
