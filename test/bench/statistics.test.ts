import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median, ratioOf, spreadOf } from '../../bench/harness/statistics.ts';

describe('median', () => {
  it.each([
    [[7], 7],
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[5, 5, 5, 1000], 5],
    [[-1, -3, -2], -2],
    // As text they would be in another order.
    [[10, 9, 100], 10],
  ])('of %j is %d', (samples, expected) => {
    expect(median(samples)).toBe(expected);
  });

  it('needs a sample', () => {
    expect(() => median([])).toThrow(/no samples/);
  });

  it('leaves the samples in their order', () => {
    const samples = [3, 1, 2];
    median(samples);
    expect(samples).toEqual([3, 1, 2]);
  });

  it('has as many samples below as above', () => {
    const samples = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 1 });
    fc.assert(
      fc.property(samples, (some) => {
        const middle = median(some);
        const half = some.length / 2;
        expect(some.filter((one) => one < middle).length).toBeLessThanOrEqual(half);
        expect(some.filter((one) => one > middle).length).toBeLessThanOrEqual(half);
      }),
    );
  });
});

describe('spread', () => {
  it.each([
    [[5], 0],
    [[5, 5, 5], 0],
    [[9, 10, 11], 0.1],
    // One that was disturbed does not count.
    [[10, 10, 10, 10, 1000], 0],
    [[0, 0, 1], 0],
    [[-9, -10, -11], 0.1],
  ])('of %j is %d', (samples, expected) => {
    expect(spreadOf(samples)).toBeCloseTo(expected, 12);
  });
});

describe('ratio', () => {
  it('compares neighbours', () => {
    // The machine slowed down to a half for two rounds of three; the ratio is 2 all the time.
    expect(ratioOf([200, 100, 100], [100, 50, 50])).toBe(2);
    // Medians would say 10.
    expect(ratioOf([10, 10, 1], [10, 1, 1])).toBe(1);
  });

  it('compares medians where there are no neighbours', () => {
    expect(ratioOf([10], [1, 2, 3])).toBe(5);
  });
});
