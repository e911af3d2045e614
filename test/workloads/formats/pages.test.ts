// Page streams: what is written is read, and damage is noticed.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimError } from '../../../src/core/errors.ts';
import { AccessWriter } from '../../../src/workloads/access-writer.ts';
import { PagesDecoder, PagesWriter } from '../../../src/workloads/formats/index.ts';
import type { MappingChange } from '../../../src/workloads/types.ts';
import { Collector, pieces, type Row } from '../collect.ts';

const HEADER = { pageSize: 4096, source: 'test', program: 'p', filter: 64 };

function encode(told: readonly (Row | MappingChange)[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = new PagesWriter(HEADER, (bytes) => parts.push(bytes));
  const out = new AccessWriter(writer);
  for (const one of told) {
    if ('kind' in one) out.mapping(one);
    else out.access(one.vpn, one.thread, one.write, one.weight);
  }
  out.flush();
  writer.end();
  return Buffer.concat(parts);
}

function decode(bytes: Uint8Array, cuts: readonly number[] = []): Collector {
  const decoder = new PagesDecoder();
  const sink = new Collector();
  for (const piece of pieces(bytes, cuts)) decoder.push(piece, sink);
  decoder.end(sink);
  expect(decoder.header).toEqual(HEADER);
  return sink;
}

const row = fc.record({
  vpn: fc.oneof(fc.nat(40), fc.integer({ min: 0, max: 2 ** 48 - 1 }), fc.nat(100_000)),
  thread: fc.oneof(fc.nat(2), fc.nat(65_535)),
  write: fc.boolean(),
  weight: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 2 ** 32 - 1 })),
});
const change = fc.record({
  kind: fc.constantFrom('map' as const, 'unmap' as const),
  start: fc.integer({ min: 0, max: 2 ** 47 }),
  pages: fc.integer({ min: 1, max: 2 ** 40 }),
});
const workload = fc.array(
  fc.oneof({ weight: 9, arbitrary: row }, { weight: 1, arbitrary: change }),
);

describe('a page stream', () => {
  it('reads as it was written, whatever pieces it comes in', () => {
    fc.assert(
      fc.property(workload, fc.array(fc.nat(5000), { maxLength: 12 }), (told, cuts) => {
        expect(decode(encode(told), cuts).told).toEqual(told);
      }),
    );
  });

  it('comes byte by byte, too', () => {
    fc.assert(
      fc.property(workload, (told) => {
        const bytes = encode(told);
        const cuts = Array.from(bytes, (_, i) => i);
        expect(decode(bytes, cuts).told).toEqual(told);
      }),
      { numRuns: 20 },
    );
  });

  it('takes a byte for an access to a page nearby', () => {
    const near = Array.from({ length: 1000 }, (_, i) => ({
      vpn: 500 + (i % 10),
      thread: 0,
      write: i % 3 === 0,
      weight: 1,
    }));
    expect(encode(near).length).toBeLessThan(1000 + 120);
  });
});

describe('damage', () => {
  const sample = encode([
    { kind: 'map', start: 100, pages: 50 },
    ...Array.from({ length: 60 }, (_, i) => ({
      vpn: 100 + ((i * 37) % 50),
      thread: i % 3,
      write: i % 2 === 0,
      weight: 1 + (i % 5) * 1000,
    })),
    { kind: 'unmap', start: 100, pages: 50 },
  ]);

  it('at any byte is found', () => {
    for (let at = 0; at < sample.length; at++) {
      for (const flip of [1, 0x10, 0x80, 0xff]) {
        const damaged = Uint8Array.from(sample);
        damaged[at]! ^= flip;
        let error: unknown = null;
        try {
          // The header has texts that may say anything.
          const decoder = new PagesDecoder();
          const sink = new Collector();
          decoder.push(damaged, sink);
          decoder.end(sink);
          if (JSON.stringify(decoder.header) !== JSON.stringify(HEADER)) continue;
        } catch (thrown) {
          error = thrown;
        }
        expect(error, `byte ${at} ^ ${flip}`).toBeInstanceOf(SimError);
        expect((error as SimError).code).toBe('bad-trace');
      }
    }
  });

  it('by cutting it off anywhere is found, with the place', () => {
    for (let length = 0; length < sample.length; length++) {
      const decoder = new PagesDecoder();
      const sink = new Collector();
      const read = (): void => {
        decoder.push(sample.subarray(0, length), sink);
        decoder.end(sink);
      };
      expect(read, `${length} bytes`).toThrow(/^byte \d+: expected /);
    }
  });

  it('is more after the end', () => {
    expect(() => decode(Buffer.concat([sample, Buffer.from([8])]))).toThrow(
      /nothing after the end/,
    );
  });

  it.each([
    ['{"hmmlab":"pages","version":2,"pageSize":4096}', 'version 1'],
    [
      '{"hmmlab":"pages","version":1,"pageSize":5000,"source":"","program":"","filter":0}',
      'power of two',
    ],
    ['{"hmmlab":"pages","version":1,"pageSize":4096,"source":1,"program":"","filter":0}', 'source'],
    [
      '{"hmmlab":"pages","version":1,"pageSize":4096,"source":"","program":"","filter":-1}',
      'filter',
    ],
    ['{"hmmlab":"other"}', 'header of a page stream'],
    ['[1]', 'header of a page stream'],
    ['no json', 'header of a page stream'],
  ])('in the header is told: %s', (header, message) => {
    const read = (): void => new PagesDecoder().push(Buffer.from(`${header}\n`), new Collector());
    expect(read).toThrow(message);
  });

  it('is a number that has no end', () => {
    const endless = Buffer.concat([
      encode([]).subarray(0, encode([]).indexOf(10) + 1),
      Buffer.alloc(64, 0xff),
    ]);
    expect(() => decode(endless)).toThrow(/byte \d+/);
  });
});

describe('a long page stream', () => {
  it('takes no more memory than a short one', () => {
    const decoder = new PagesDecoder();
    const counting = { accesses: (): void => {}, mapping: (): void => {} };
    const writer = new PagesWriter(HEADER, (bytes) => decoder.push(bytes, counting));
    const out = new AccessWriter(writer);
    const before = process.memoryUsage().arrayBuffers;
    const records = 2_000_000;
    for (let i = 0; i < records; i++) out.access((i * 7919) % 100_003, i % 4, i % 5 === 0);
    out.flush();
    writer.end();
    decoder.end(counting);
    expect(decoder.counts).toMatchObject({ records, accesses: records, threads: 4 });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
  });
});
