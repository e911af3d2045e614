import { describe, expect, it } from 'vitest';
import { figureLine, markdownLines } from '../../bench/harness/print.ts';
import { documentOf, figure } from './documents.ts';

const yardstick = { name: 'of a loop', samples: [100, 100, 100] };

describe('a target', () => {
  it.each([
    ['more', 'value', 90, true],
    ['more', 'value', 100, true],
    ['more', 'value', 101, false],
    ['less', 'value', 100, true],
    ['less', 'value', 99, false],
    ['more', 'ratio', 1, true],
    ['more', 'ratio', 1.01, false],
    ['less', 'ratio', 1, true],
    ['less', 'ratio', 0.99, false],
  ] as const)('%s is better, on the %s, bound %d: %s', (better, on, bound, expected) => {
    const made = figure({ samples: [99, 100, 150], yardstick, better, targets: [{ bound, on }] });
    expect(made.holds).toBe(expected);
  });

  it('holds where all of several do', () => {
    const value = { bound: 90, on: 'value' } as const;
    const ratio = { bound: 2, on: 'ratio' } as const;
    const samples = [100];
    expect(figure({ samples, yardstick, targets: [value] }).holds).toBe(true);
    expect(figure({ samples, yardstick, targets: [value, ratio] }).holds).toBe(false);
  });

  it('is not there where nothing is asked, or the size is smaller', () => {
    const targets = [{ bound: 1000, on: 'value' }] as const;
    expect(figure({ samples: [1] }).holds).toBeNull();
    const small = figure({ samples: [1], targets, small: true });
    expect(small.holds).toBeNull();
    expect(small.note).toContain('SMALLER');
  });

  it('cannot be on a ratio to nothing', () => {
    const targets = [{ bound: 1, on: 'ratio' }] as const;
    expect(() => figure({ samples: [1], targets })).toThrow(/ratio to nothing/);
  });
});

describe('what is printed', () => {
  const failing = figure({
    samples: [1_000_000, 1_200_000, 2_000_000],
    yardstick: { name: 'of a loop', samples: [2_000_000, 2_400_000, 4_000_000] },
    targets: [{ bound: 5_000_000, on: 'value' }],
  });

  it('says all of it', () => {
    const line = figureLine(failing);
    for (const part of ['1,200,000/s', '±17%!', '>= 5,000,000/s', 'FAILS', '0.5x', 'of a loop']) {
      expect(line).toContain(part);
    }
  });

  it('marks no spread that is small', () => {
    expect(figureLine(figure({ samples: [100, 101, 102] }))).toContain('±1.0%');
    expect(figureLine(figure({ samples: [100, 101, 102] }))).not.toContain('!');
    expect(figureLine(figure({ samples: [100] }))).toContain('once');
  });

  it('is a table with as many cells in each row', () => {
    const lines = markdownLines(documentOf(failing, figure({ name: 'loads', samples: [7] })));
    const rows = lines.filter((line) => line.startsWith('|'));
    expect(rows).toHaveLength(4);
    const counts = rows.map((row) => row.split('|').length);
    expect(new Set(counts).size).toBe(1);
    expect(rows[2]).toContain(
      '| 1 | faults | 0.5x | of a loop | at least 5,000,000/s: 24% | FAILS |',
    );
  });
});
