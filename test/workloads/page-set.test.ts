import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PageSet } from '../../src/workloads/page-set.ts';

describe('a set of pages', () => {
  it('counts each once', () => {
    const vpn = fc.oneof(
      fc.nat({ max: 100_000 }),
      fc.nat({ max: 40 }),
      fc.integer({ min: 2 ** 36 - 50, max: 2 ** 36 }),
    );
    fc.assert(
      fc.property(fc.array(vpn, { maxLength: 300 }), (pages) => {
        const set = new PageSet();
        for (const page of pages) set.add(page);
        expect(set.size).toBe(new Set(pages).size);
      }),
    );
  });

  it('has room for more than a Set has', () => {
    const set = new PageSet();
    const count = 2 ** 24 + 1000;
    for (let page = 0; page < count; page++) set.add(page);
    for (let page = 0; page < 1000; page++) set.add(page);
    expect(set.size).toBe(count);
  });
});
