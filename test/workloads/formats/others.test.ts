// ChampSim records, KFD events, and the filter.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AccessWriter } from '../../../src/workloads/access-writer.ts';
import {
  decoderFor,
  detectFormat,
  LruFilter,
  type TraceFormat,
} from '../../../src/workloads/formats/index.ts';
import { Collector, pieces, type Row } from '../collect.ts';

function read(format: TraceFormat, bytes: Uint8Array, cuts: readonly number[] = []): Collector {
  const decoder = decoderFor(format);
  const sink = new Collector();
  for (const piece of pieces(bytes, cuts)) decoder.push(piece, sink);
  decoder.end(sink);
  return sink;
}

interface Instruction {
  readonly loads: readonly number[];
  readonly stores: readonly number[];
}

function champsim(all: readonly Instruction[], cloudsuite = false): Buffer {
  const size = cloudsuite ? 96 : 64;
  const bytes = Buffer.alloc(all.length * size);
  for (const [i, { loads, stores }] of all.entries()) {
    const at = i * size;
    bytes.writeBigUInt64LE(0x40_0000n, at);
    for (const [n, va] of stores.entries()) {
      bytes.writeBigUInt64LE(BigInt(va), at + (cloudsuite ? 24 : 16) + n * 8);
    }
    for (const [n, va] of loads.entries()) {
      bytes.writeBigUInt64LE(BigInt(va), at + (cloudsuite ? 56 : 32) + n * 8);
    }
    if (cloudsuite) bytes[at + 88] = i % 2;
  }
  return bytes;
}

describe('ChampSim', () => {
  it('reads loads and stores of each instruction', () => {
    const bytes = champsim([
      { loads: [0x1000, 0x7fff_1234_5678], stores: [0x2008] },
      { loads: [], stores: [] },
      { loads: [1, 2, 3, 4], stores: [0x5000, 0x6000] },
    ]);
    const told = read('champsim', bytes, [7, 64, 65]).rows.map(({ vpn, write }) => [vpn, write]);
    expect(told).toEqual([
      [1, false],
      [0x7fff12345, false],
      [2, true],
      [0, false],
      [0, false],
      [0, false],
      [0, false],
      [5, true],
      [6, true],
    ]);
  });

  it('takes address spaces of CloudSuite for threads', () => {
    const one = { loads: [0x1000], stores: [] };
    const rows = read('cloudsuite', champsim([one, one, one], true)).rows;
    expect(rows.map(({ thread }) => thread)).toEqual([0, 1, 0]);
  });

  it('refuses half a record, none, and what is none', () => {
    const bytes = champsim([{ loads: [0x1000], stores: [] }]);
    expect(() => read('champsim', bytes.subarray(0, 60))).toThrow(
      'byte 0: expected a record of 64 bytes',
    );
    expect(() => read('champsim', bytes.subarray(0, 0))).toThrow('found 0 at the end');
    const text = Buffer.from(
      'this is some text that is certainly long enough for one record of it',
    );
    expect(() => read('champsim', text)).toThrow('expected 0 or 1 for is_branch');
  });
});

describe('KFD', () => {
  const lines = [
    '7 40507688414784 -156893 @7fa608127(ad5c) R',
    '5 14601738586508 -152990 @7f0f15200(2) 0->1ea0 1ea0:0 1',
    '6 15202910515905 -152990 @7f0f15200(2) 0->1ea0 1 75',
    '5 14601738586508 -152990 @7f0f15200(2) 0->1ea0 1ea0:0 0',
    '7 40507688414784 -156893 @7fa608128(ad5c) W',
    '5 14601738586508 -152990 @7f0f15200(1) 1ea0->0 0:0 2',
    'b 14601738586508 -152990 @7f0f15200(2) 1ea0 2',
    '2 a:b',
  ];

  it('makes accesses of faults, prefetches and CPU faults', () => {
    const bytes = Buffer.from(`${lines.join('\n')}\n`);
    const { rows, mappings } = read('kfd', bytes, [3, 50, 51, 52]);
    expect(rows.map(({ vpn, thread, write }) => [vpn, thread, write])).toEqual([
      [0x7fa608127, 1, false],
      [0x7f0f15200, 2, false],
      [0x7f0f15201, 2, false],
      [0x7fa608128, 1, true],
      [0x7f0f15200, 0, false],
    ]);
    expect(mappings).toEqual([{ kind: 'unmap', start: 0x7f0f15200, pages: 2 }]);
    expect(detectFormat(bytes)).toBe('kfd');
  });

  it.each([
    ['7 12 -3 @zz(1) R\n', 'line 1 (byte 0): expected "7 ns -pid @page(node) R"'],
    ['2 a:b\n5 12\n', 'line 2 (byte 6): expected "5 ns'],
    ['what is this\n', 'expected a KFD event'],
    ['7 12 -3 @1(1) R', 'expected the end of the line'],
    ['', 'expected lines of KFD events; found none'],
  ])('refuses %j', (text, message) => {
    expect(() => read('kfd', Buffer.from(text))).toThrow(message);
  });
});

describe('the LRU filter', () => {
  /** Lists as arrays, the last used last. */
  function filtered(rows: readonly Row[], entries: number): Row[] {
    const lists = new Map<number, { vpn: number; stored: boolean }[]>();
    const waiting = new Map<number, number>();
    const out: Row[] = [];
    for (const row of rows) {
      const list = lists.get(row.thread) ?? [];
      lists.set(row.thread, list);
      const at = list.findIndex(({ vpn }) => vpn === row.vpn);
      const [found] = at < 0 ? [undefined] : list.splice(at, 1);
      if (at < 0 && list.length === entries) list.shift();
      list.push({ vpn: row.vpn, stored: row.write || (found?.stored ?? false) });
      const left = (waiting.get(row.thread) ?? 0) + row.weight;
      const isHit = found !== undefined && (found.stored || !row.write);
      if (!isHit) out.push({ ...row, weight: left });
      waiting.set(row.thread, isHit ? left : 0);
    }
    for (const [thread, weight] of [...waiting].sort(([a], [b]) => a - b)) {
      const vpn = lists.get(thread)!.at(-1)!.vpn;
      if (weight > 0) out.push({ vpn, thread, write: false, weight });
    }
    return out;
  }

  it('keeps what the plain one keeps, and loses no weight', () => {
    const rows = fc.array(
      fc.record({
        vpn: fc.nat(9),
        thread: fc.nat(2),
        write: fc.boolean(),
        weight: fc.integer({ min: 1, max: 3 }),
      }),
    );
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 6 }), (all, entries) => {
        const sink = new Collector();
        const filter = new LruFilter(entries, sink);
        const out = new AccessWriter(filter);
        for (const { vpn, thread, write, weight } of all) out.access(vpn, thread, write, weight);
        out.flush();
        filter.end();
        expect(sink.rows).toEqual(filtered(all, entries));
        const sum = (of: readonly Row[]): number =>
          of.reduce((total, { weight }) => total + weight, 0);
        expect(sum(sink.rows)).toBe(sum(all));
      }),
    );
  });

  it('forgets pages whose mapping ends', () => {
    const sink = new Collector();
    const filter = new LruFilter(8, sink);
    const out = new AccessWriter(filter);
    out.access(5, 0, false);
    out.mapping({ kind: 'unmap', start: 5, pages: 1 });
    out.access(5, 0, false);
    out.flush();
    filter.end();
    expect(sink.rows).toHaveLength(2);
  });
});
