import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeEntry,
  encodeEntry,
  type FaultAccess,
  FaultBuffer,
  type FaultEntry,
} from '../../src/hw/fault-buffer.ts';
import { codeOf } from '../core/tasks.ts';

const ENTRY: FaultEntry = {
  inst: 0x12_3456_7000,
  addr: 0x7f12_3456_7000,
  timeNs: 2 ** 40 + 3,
  engine: 0x1f,
  gpc: 0x15,
  hub: true,
  access: 2,
  client: 0x4b,
  fault: 0x0f,
  valid: true,
};

const anyEntry: fc.Arbitrary<FaultEntry> = fc.record({
  inst: fc.maxSafeNat(),
  addr: fc.maxSafeNat(),
  timeNs: fc.maxSafeNat(),
  engine: fc.nat(2 ** 32 - 1),
  gpc: fc.nat(31),
  hub: fc.boolean(),
  access: fc.nat(3) as fc.Arbitrary<FaultAccess>,
  client: fc.nat(127),
  fault: fc.nat(31),
  valid: fc.boolean(),
});

describe('an entry', () => {
  it('has its fields where the hardware puts them', () => {
    const words = new Uint32Array(16);
    encodeEntry(ENTRY, words, 8);
    expect([...words.subarray(8)].map((word) => word.toString(16))).toEqual([
      '34567000',
      '12',
      '34567000',
      '7f12',
      '3',
      '100',
      '1f',
      '95124b0f',
    ]);
    expect([...words.subarray(0, 8)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('is read as it was written', () => {
    const property = fc.property(anyEntry, fc.nat(3), (entry, place) => {
      const words = new Uint32Array(32).fill(0xa5a5a5a5);
      encodeEntry(entry, words, place * 8);
      expect(decodeEntry(words, place * 8)).toEqual(entry);
    });
    fc.assert(property);
  });
});

describe('the ring', () => {
  it('holds one entry fewer than it has places', () => {
    const ring = new FaultBuffer(3);
    expect(ring.words).toHaveLength(24);
    expect([1, 2, 3, 4].map((inst) => ring.push({ ...ENTRY, inst }))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect([ring.get, ring.put, ring.pending, ring.overflows]).toEqual([0, 2, 2, 2]);
    expect([ring.read(0).inst, ring.read(1).inst]).toEqual([1, 2]);
  });

  it('goes round', () => {
    const ring = new FaultBuffer(3);
    ring.push(ENTRY);
    ring.push(ENTRY);
    ring.get = 1;
    expect(ring.push({ ...ENTRY, inst: 3 })).toBe(true);
    expect([ring.put, ring.pending]).toEqual([0, 2]);
    ring.get = 2;
    expect(ring.push({ ...ENTRY, inst: 4 })).toBe(true);
    expect([ring.put, ring.read(2).inst, ring.read(0).inst]).toEqual([1, 3, 4]);
  });

  it('clears the valid bit and nothing else', () => {
    const ring = new FaultBuffer(2);
    ring.push(ENTRY);
    ring.clearValid(0);
    expect(ring.read(0)).toEqual({ ...ENTRY, valid: false });
  });

  it('tells who wants to know that the driver has read', () => {
    const seen: number[] = [];
    const ring: FaultBuffer = new FaultBuffer(4, () => seen.push(ring.get));
    ring.push(ENTRY);
    ring.get = 1;
    expect(seen).toEqual([1]);
  });

  it('refuses sizes and places that are none', () => {
    for (const entries of [1, 0, -2, 2.5, Number.NaN]) {
      expect(codeOf(() => new FaultBuffer(entries))).toBe('bad-argument');
    }
    const ring = new FaultBuffer(2);
    for (const at of [-1, 2, 0.5]) {
      expect(codeOf(() => ring.read(at))).toBe('bad-argument');
      expect(codeOf(() => ring.clearValid(at))).toBe('bad-argument');
      expect(codeOf(() => (ring.get = at))).toBe('bad-argument');
    }
    expect(ring.get).toBe(0);
  });

  it('keeps what a queue of that length keeps', () => {
    const steps = fc.array(fc.oneof(anyEntry, fc.constant('take' as const)), { maxLength: 40 });
    const property = fc.property(fc.integer({ min: 2, max: 6 }), steps, (entries, all) => {
      const ring = new FaultBuffer(entries);
      const queue: FaultEntry[] = [];
      let dropped = 0;
      for (const step of all) {
        if (step !== 'take') {
          const fits = queue.length < entries - 1;
          if (fits) queue.push(step);
          else dropped++;
          expect(ring.push(step)).toBe(fits);
        } else if (queue.length > 0) {
          expect(ring.read(ring.get)).toEqual(queue.shift());
          ring.get = (ring.get + 1) % entries;
        }
        expect([ring.pending, ring.overflows]).toEqual([queue.length, dropped]);
        expect(ring.full).toBe(queue.length === entries - 1);
      }
    });
    fc.assert(property);
  });
});
