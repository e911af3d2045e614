// Lines of JSON: a header, then every record as it is.

import { describe, expect, it } from 'vitest';
import { exportJsonl } from '../../src/trace/export-jsonl.ts';
import { HAND_OVER } from './programs.ts';
import { META, recordingOfText, sourceOf } from './sources.ts';

describe('exportJsonl', () => {
  it('writes a header and one record a line', () => {
    const source = recordingOfText(HAND_OVER);
    const lines = [...exportJsonl(source)];
    expect(lines.every((line) => line.indexOf('\n') === line.length - 1)).toBe(true);
    const [header, ...records] = lines.map((line) => JSON.parse(line) as unknown);
    expect(header).toEqual({
      hmmlab: 'events',
      version: 1,
      records: source.length,
      meta: source.meta,
    });
    expect(records).toHaveLength(source.length);
    records.forEach((record, i) => {
      const known = Object.entries(source.event(i)).filter(([, value]) => value !== undefined);
      expect(record).toEqual(Object.fromEntries(known));
    });
  });

  it('writes a header even where nothing happened', () => {
    expect([...exportJsonl(sourceOf([]))]).toEqual([
      `${JSON.stringify({ hmmlab: 'events', version: 1, records: 0, meta: META })}\n`,
    ]);
  });
});
