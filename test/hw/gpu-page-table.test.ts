import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  GPU_PTE_ATOMIC,
  GPU_PTE_VALID,
  GPU_PTE_VRAM,
  GPU_PTE_WRITE,
  GpuPageTable,
} from '../../src/hw/gpu-page-table.ts';
import { codeOf } from '../core/tasks.ts';

const ALL = GPU_PTE_VALID | GPU_PTE_WRITE | GPU_PTE_VRAM | GPU_PTE_ATOMIC;
const HIGH = 2 ** 35 - 1;

describe('a page table of a GPU', () => {
  it('has the bits that the driver interface names', () => {
    expect([GPU_PTE_VALID, GPU_PTE_WRITE, GPU_PTE_VRAM, GPU_PTE_ATOMIC]).toEqual([1, 2, 4, 8]);
  });

  it('holds the zero page, the highest page and the highest address', () => {
    const table = new GpuPageTable();
    table.map(0, 0, GPU_PTE_VALID);
    table.map(HIGH, 2 ** 26 - 1, ALL);
    expect(table.entry(0)).toEqual({ page: 0, flags: GPU_PTE_VALID });
    expect(table.entry(HIGH)).toEqual({ page: 2 ** 26 - 1, flags: ALL });
    expect(table.entry(1)).toBeNull();
    expect(table.size).toBe(2);
  });

  it('replaces an entry, and loses it where the new one is not valid', () => {
    const table = new GpuPageTable();
    table.map(5, 7, ALL);
    table.map(5, 8, GPU_PTE_VALID);
    expect(table.entry(5)).toEqual({ page: 8, flags: GPU_PTE_VALID });
    table.map(5, 9, GPU_PTE_WRITE | GPU_PTE_VRAM);
    expect(table.entry(5)).toBeNull();
    expect(table.size).toBe(0);
  });

  it('gives a page only to who needs no more than the entry allows', () => {
    const table = new GpuPageTable();
    for (let flags = 0; flags <= ALL; flags++) {
      table.map(1, 3, flags | GPU_PTE_VALID);
      for (let needs = 1; needs <= ALL; needs += 2) {
        const allowed = (needs & (flags | GPU_PTE_VALID)) === needs;
        expect(table.pageFor(1, needs)).toBe(allowed ? 3 : -1);
      }
    }
    expect(table.pageFor(2, GPU_PTE_VALID)).toBe(-1);
  });

  it('refuses bits that are none', () => {
    const table = new GpuPageTable();
    for (const flags of [16, -1, 1.5]) {
      expect(codeOf(() => table.map(1, 1, flags))).toBe('bad-argument');
    }
    expect(table.size).toBe(0);
  });

  it('answers as a plain map does', () => {
    const vpn = fc.oneof(fc.nat(12), fc.integer({ min: HIGH - 12, max: HIGH }));
    const step = fc.oneof(
      fc.record({ vpn, page: fc.nat(2 ** 26 - 1), flags: fc.nat(ALL) }),
      fc.tuple(vpn, vpn),
    );
    const property = fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const table = new GpuPageTable();
      const model = new Map<number, { page: number; flags: number }>();
      for (const one of steps) {
        if ('vpn' in one) {
          const { vpn, page, flags } = one;
          table.map(vpn, page, flags);
          if ((flags & GPU_PTE_VALID) !== 0) model.set(vpn, { page, flags });
          else model.delete(vpn);
        } else {
          const [first, end] = one;
          table.unmap(first, end);
          for (const vpn of [...model.keys()]) if (vpn >= first && vpn < end) model.delete(vpn);
        }
      }
      expect(table.size).toBe(model.size);
      expect(new Map(table.mapped())).toEqual(model);
      for (const [vpn, entry] of model) expect(table.entry(vpn)).toEqual(entry);
    });
    fc.assert(property);
  });
});
