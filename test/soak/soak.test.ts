// The endurance run, for a moment, and how it judges memory.

import { describe, expect, it } from 'vitest';
import { verdictOf } from './memory.ts';
import { Turns } from './turns.ts';

const MIB = 1024 * 1024;

describe('a few turns', () => {
  it('find nothing, and do all of it', () => {
    const turns = new Turns(11);
    for (let i = 0; i < 10; i++) turns.turn();
    turns.verify();
    expect(turns.counts.turns).toBe(10);
    expect(turns.counts.programs).toBeGreaterThan(10 * 60);
    expect(turns.counts.accesses).toBe(10 * 22_000);
    expect(turns.counts.records).toBeGreaterThan(10_000);
    // A few seconds, but for computers that do much else.
  }, 120_000);
});

describe('memory', () => {
  const run = (bytesAt: (minute: number) => number): ReturnType<typeof verdictOf> =>
    verdictOf(Array.from({ length: 41 }, (_, i) => ({ seconds: i * 15, bytes: bytesAt(i / 4) })));

  it('that wavers is flat', () => {
    expect(run((minute) => (100 + 5 * Math.sin(minute * 9)) * MIB)!.flat).toBe(true);
  });

  it('that fills up at first is flat', () => {
    expect(run((minute) => (100 - 60 * Math.exp(-4 * minute)) * MIB)!.flat).toBe(true);
  });

  it('that leaks is not', () => {
    const verdict = run((minute) => (100 + 3 * minute) * MIB)!;
    expect(verdict.flat).toBe(false);
    expect(verdict.bytesPerMinute / MIB).toBeCloseTo(3);
  });

  it('of a short run says nothing', () => {
    expect(verdictOf([])).toBeNull();
    expect(verdictOf([{ seconds: 1, bytes: 1 }])).toBeNull();
  });
});
