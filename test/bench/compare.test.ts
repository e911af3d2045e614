import { describe, expect, it } from 'vitest';
import { compareRuns } from '../../bench/harness/compare.ts';
import { comparisonLines } from '../../bench/harness/print.ts';
import { documentOf, figure } from './documents.ts';

const loop = (...samples: number[]) => ({ name: 'of a loop', samples });

describe('two runs', () => {
  it('compares rates and costs so that above 1 is better', () => {
    const before = documentOf(
      figure({ name: 'rate', samples: [100] }),
      figure({ name: 'cost', samples: [100], unit: ' ns', better: 'less' }),
    );
    const after = documentOf(
      figure({ name: 'rate', samples: [150] }),
      figure({ name: 'cost', samples: [50], unit: ' ns', better: 'less' }),
    );
    const { figures, added, gone, doubts } = compareRuns(before, after);
    expect(figures.map(({ name, better }) => [name, better])).toEqual([
      ['rate', 1.5],
      ['cost', 2],
    ]);
    expect([added, gone, doubts]).toEqual([[], [], []]);
  });

  it('is certain only of what goes beyond the spread', () => {
    const before = documentOf(figure({ samples: [90, 100, 110] }));
    const runOf = (value: number) => documentOf(figure({ samples: [value, value, value] }));
    expect(compareRuns(before, runOf(120)).figures[0]!.certain).toBe(false);
    expect(compareRuns(before, runOf(140)).figures[0]!.certain).toBe(true);
    expect(compareRuns(before, runOf(60)).figures[0]!.certain).toBe(true);
  });

  it('shows what the yardstick did, where it is the same one', () => {
    const before = documentOf(figure({ samples: [10], yardstick: loop(100) }));
    const slower = documentOf(figure({ samples: [5], yardstick: loop(50) }));
    expect(compareRuns(before, slower).figures[0]!.yardstick).toBe(0.5);
    const other = documentOf(
      figure({ samples: [5], yardstick: { name: 'another', samples: [50] } }),
    );
    expect(compareRuns(before, other).figures[0]!.yardstick).toBeNull();
    expect(compareRuns(before, documentOf(figure({ samples: [5] }))).figures[0]!.yardstick).toBe(
      null,
    );
  });

  it('names what only one of them has, or has in another unit', () => {
    const before = documentOf(
      figure({ name: 'old', samples: [1] }),
      figure({ name: 'both', samples: [1], unit: ' ns' }),
    );
    const after = documentOf(
      figure({ name: 'new', samples: [1] }),
      figure({ name: 'both', samples: [1], unit: ' ms' }),
    );
    const { figures, added, gone } = compareRuns(before, after);
    expect([figures, added, gone]).toEqual([[], ['new', 'both'], ['old', 'both']]);
  });

  it('doubts runs of different machines or sizes', () => {
    const before = documentOf(figure({ samples: [1] }));
    const after = { ...before, node: 'v22.0.0', quick: true };
    expect(compareRuns(before, after).doubts).toEqual([
      'node: v20.19.0, now v22.0.0',
      'quick: false, now true',
    ]);
  });

  it('divides nothing by nothing', () => {
    const before = documentOf(figure({ samples: [0] }));
    expect(compareRuns(before, before).figures[0]!.better).toBe(1);
  });

  it('is printed', () => {
    const before = documentOf(figure({ samples: [100], yardstick: loop(10) }));
    const after = documentOf(figure({ samples: [150], yardstick: loop(11) }));
    const lines = comparisonLines(compareRuns(before, after), 'OLD.json');
    expect(lines[0]).toContain('OLD.json');
    expect(lines[1]).toMatch(/^ {2}faults +1\.50x \* {2}yardstick 1\.10x$/);
  });
});
