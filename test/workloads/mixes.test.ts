// The mixes do what their names say.

import { describe, expect, it } from 'vitest';
import { MIXES } from '../../src/workloads/mixes/index.ts';
import { Collector, type Row } from './collect.ts';

const NAMES = [...MIXES.keys()];

function generate(name: string, options: Partial<Parameters<typeof play>[1]> = {}): Collector {
  return play(name, { pages: 256, devices: 4, accesses: 20_000, seed: 7, ...options });
}

function play(
  name: string,
  options: { pages: number; devices: number; accesses: number; seed: number },
): Collector {
  const sink = new Collector();
  MIXES.get(name)!.generate(options, sink);
  return sink;
}

function by<T>(rows: readonly Row[], key: (row: Row) => T): Map<T, Row[]> {
  const groups = new Map<T, Row[]>();
  for (const row of rows) groups.set(key(row), [...(groups.get(key(row)) ?? []), row]);
  return groups;
}

describe.each(NAMES)('%s', (name) => {
  it('makes as many accesses as asked for, in its mappings, by its threads', () => {
    for (const accesses of [1, 999, 20_000]) {
      const { rows, mappings } = generate(name, { accesses });
      expect(rows).toHaveLength(accesses);
      const pages = new Set(
        mappings.flatMap(({ start, pages: n }) => Array.from({ length: n }, (_, i) => start + i)),
      );
      expect(pages.size).toBe(256);
      expect(rows.every(({ vpn }) => pages.has(vpn))).toBe(true);
      expect(Math.max(...rows.map(({ thread }) => thread))).toBeLessThanOrEqual(4);
    }
  });

  it('is the same for the same seed', () => {
    expect(generate(name).told).toEqual(generate(name).told);
  });

  it('touches nearly all of its working set', () => {
    const touched = new Set(generate(name, { accesses: 60_000 }).rows.map(({ vpn }) => vpn));
    expect(touched.size).toBeGreaterThan(256 * 0.9);
  });

  it('keeps every device busy, and takes one device as well as sixty-four', () => {
    for (const devices of [1, 4, 64]) {
      const { rows } = generate(name, { devices, accesses: 300_000, pages: 1024 });
      const busy = new Set(rows.map(({ thread }) => thread).filter((thread) => thread > 0));
      expect(busy.size).toBe(devices);
    }
  });

  it.each([
    [{ pages: 15 }, 'pages'],
    [{ devices: 0 }, 'devices'],
    [{ devices: 65 }, 'devices'],
    [{ accesses: 0 }, 'accesses'],
    [{ seed: -1 }, 'seed'],
  ])('refuses %j', (options, what) => {
    expect(() => generate(name, options)).toThrow(what);
  });
});

describe('their shapes', () => {
  it('broadcast: nobody but the CPU writes, and every device reads every page', () => {
    const { rows } = generate('broadcast');
    expect(rows.every(({ write, thread }) => write === (thread === 0))).toBe(true);
    for (let device = 1; device <= 4; device++) {
      const read = rows.filter(({ thread }) => thread === device).map(({ vpn }) => vpn);
      expect(new Set(read).size).toBe(256);
    }
  });

  it('hot-cold: a tenth of the pages gets nine tenths of the accesses', () => {
    const { rows, mappings } = generate('hot-cold');
    const hot = rows.filter(({ vpn }) => vpn < mappings[0]!.start + 25).length / rows.length;
    expect(hot).toBeGreaterThan(0.87);
    expect(hot).toBeLessThan(0.93);
  });

  it('pointer-chase: one ring through all pages', () => {
    const reads = generate('pointer-chase').rows.filter(({ write }) => !write);
    const order = reads.slice(0, 256).map(({ vpn }) => vpn);
    expect(new Set(order).size).toBe(256);
    expect(reads.slice(256, 512).map(({ vpn }) => vpn)).toEqual(order);
    const steps = order.slice(1).filter((vpn, i) => Math.abs(vpn - order[i]!) === 1).length;
    expect(steps).toBeLessThan(20);
  });

  it('stencil: neighbours read the edges of each other’s bands, and nothing else of them', () => {
    const { rows } = generate('stencil', { accesses: 256 * 8 });
    const readers = by(
      rows.filter(({ write }) => !write),
      ({ vpn }) => vpn,
    );
    const shared = [...readers.values()].filter(
      (of) => new Set(of.map(({ thread }) => thread)).size > 1,
    );
    // Two edges between neighbours of four bands, in both grids.
    expect(shared).toHaveLength(3 * 2 * 2);
    const writers = by(
      rows.filter(({ write }) => write),
      ({ vpn }) => vpn,
    );
    for (const of of writers.values()) expect(new Set(of.map(({ thread }) => thread)).size).toBe(1);
  });

  it('embedding: the most wanted hundredth gets a good part of the look-ups', () => {
    const { rows } = generate('embedding', { pages: 4096, accesses: 100_000 });
    const counts = [...by(rows, ({ vpn }) => vpn).values()].map(({ length }) => length);
    counts.sort((a, b) => b - a);
    const top = counts.slice(0, 41).reduce((sum, count) => sum + count, 0) / rows.length;
    expect(top).toBeGreaterThan(0.4);
    expect(top).toBeLessThan(0.65);
  });

  it('streaming: devices have parts of their own, half read and half written', () => {
    const { rows } = generate('streaming');
    for (const of of by(rows, ({ vpn }) => vpn).values()) {
      expect(new Set(of.map(({ thread, write }) => `${thread} ${write}`)).size).toBe(1);
    }
  });

  it('ping-pong: who reads a page finds what another wrote', () => {
    const { rows } = generate('ping-pong');
    const first = by(rows.slice(0, 256 * 4), ({ vpn }) => vpn);
    for (const of of first.values()) {
      expect(of.map(({ thread, write }) => [thread, write])).toEqual([
        [0, true],
        [1, false],
        [1, true],
        [0, false],
      ]);
    }
  });

  it('differ where chance has a say and the seed differs', () => {
    for (const name of ['hot-cold', 'pointer-chase', 'bfs', 'embedding']) {
      expect(generate(name, { seed: 8 }).rows).not.toEqual(generate(name).rows);
    }
  });
});
