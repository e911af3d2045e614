import { afterEach, describe, expect, it, vi } from 'vitest';
import { costOf, expectEqual, interleave, rateOf, secondsOf } from '../../bench/harness/measure.ts';

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('things that take turns', () => {
  it('go there and back again, each on a clean heap, and warm up before', async () => {
    const order: string[] = [];
    vi.stubGlobal('gc', () => order.push('gc'));
    let sample = 0;
    const thing = (name: string) => () => {
      order.push(name);
      return sample++;
    };
    const samples = await interleave(3, { a: thing('a'), b: thing('b') }, 1);
    const turns = order.filter((name) => name !== 'gc').join('');
    expect(turns).toBe('baabbaab');
    expect(order.filter((name) => name === 'gc')).toHaveLength(8);
    expect(order[0]).toBe('gc');
    // The first two were the warm-up.
    expect(samples).toEqual({ a: [2, 5, 6], b: [3, 4, 7] });
  });

  it('may take their time', async () => {
    vi.stubGlobal('gc', () => {});
    const later = (value: number) => () => Promise.resolve(value);
    expect(await interleave(2, { a: later(1), b: later(2) }, 0)).toEqual({ a: [1, 1], b: [2, 2] });
  });

  it('need a garbage collection they can ask for', async () => {
    vi.stubGlobal('gc', undefined);
    await expect(interleave(1, { a: () => 1 })).rejects.toThrow(/--expose-gc/);
  });
});

describe('time', () => {
  const spin = (ms: number) => () => {
    const end = performance.now() + ms;
    while (performance.now() < end);
  };

  it('is never more than the clock says, and never nothing', () => {
    const start = performance.now();
    const seconds = secondsOf(spin(20));
    const onClock = (performance.now() - start) / 1000;
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(onClock);
  });

  it('is a rate, or a cost', () => {
    expect(rateOf(10, spin(10))).toBeGreaterThan(10 / 10);
    expect(costOf(10, spin(10))).toBeGreaterThan(0);
  });
});

it('a figure about wrong results is an error', () => {
  expect(() => expectEqual('sum', 1, 2)).toThrow('sum: 1, expected 2');
  expectEqual('sum', 2, 2);
});
