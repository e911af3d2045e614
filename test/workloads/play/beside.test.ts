// The player beside one that is slow and plain: counts, contents and owners must be the same.

import { describe, expect, it } from 'vitest';
import { AccessWriter } from '../../../src/workloads/access-writer.ts';
import { MIXES } from '../../../src/workloads/mixes/index.ts';
import {
  type PlayDriver,
  Player,
  parseRule,
  playReport,
} from '../../../src/workloads/play/index.ts';
import type { WorkloadSink } from '../../../src/workloads/types.ts';
import { PlainPlayer } from './plain-player.ts';

interface Case {
  readonly devices: number;
  readonly rule: string;
  readonly batch: number;
  readonly devicePages?: number;
}

const CASES: readonly Case[] = [
  { devices: 1, rule: 'thread', batch: 256 },
  { devices: 2, rule: 'thread', batch: 8, devicePages: 20 },
  { devices: 8, rule: 'thread', batch: 3, devicePages: 16 },
  { devices: 2, rule: 'range:16K', batch: 16 },
  { devices: 3, rule: 'phase:40', batch: 64, devicePages: 40 },
  { devices: 1, rule: 'thread:*=gpu0', batch: 1, devicePages: 5 },
];

/** The rules anew, as their table says. */
function plainRule({ rule, devices }: Case): (page: number, thread: number, n: number) => number {
  const [kind, rest] = rule.split(':') as [string, string | undefined];
  if (rest === '*=gpu0') return () => 1;
  if (kind === 'thread') return (_page, thread) => thread % (devices + 1);
  if (kind === 'range') return (page) => Math.floor((page * 4096) / 16384) % (devices + 1);
  return (_page, _thread, n) => Math.floor(n / Number(rest)) % (devices + 1);
}

function compare(driver: PlayDriver, one: Case, produce: (sink: WorkloadSink) => void): void {
  const { devices, batch, devicePages } = one;
  const limit = devicePages === undefined ? {} : { devicePages };
  const rule = parseRule(one.rule, devices, 4096);
  const player = new Player({ driver, devices, batch, rule, ...limit });
  const plain = new PlainPlayer({ driver, devices, batch, agentOf: plainRule(one), ...limit });
  for (const sink of [player, plain]) {
    produce(sink);
    sink.end();
  }
  const report = playReport(player);
  expect(report).toMatchObject({ mismatches: 0, findings: [], folded: 0 });
  expect([plain.wrong, plain.machine.verify()]).toEqual([0, []]);
  expect(
    report.agents.map(({ name, records, accesses, stores, missed, remote, device }) => {
      const counts = { name, records, accesses, stores, remote };
      if (device === null) return { ...counts, missed: 0, arrived: 0, left: 0 };
      const { hostToDevice, deviceToHost } = device;
      return { ...counts, missed, arrived: hostToDevice.pages, left: deviceToHost.pages };
    }),
  ).toEqual(plain.counts);
  const owners = ({ machine, proc }: Player | PlainPlayer): unknown[] =>
    [...plain.stored.keys()].map((page) => {
      const home = machine.ownerOf(proc, page * 4096);
      return [page, typeof home === 'object' && home !== null ? home.name : home];
    });
  expect(owners(player)).toEqual(owners(plain));
  const words = [...plain.stored].map(([page, value]) => {
    const at = page * 4096 + (page % 64) * 64;
    return [player.proc.load32(at), plain.proc.load32(page * 4096), value];
  });
  for (const [fast, slow, value] of words) expect([fast, slow]).toEqual([value, value]);
}

/** Accesses, and mappings that come and go under them. */
function disorder(seed: number, sink: WorkloadSink): void {
  let state = seed;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  const out = new AccessWriter(sink);
  for (let i = 0; i < 1500; i++) {
    const kind = below(200);
    const start = 490 + below(60);
    if (kind === 0) out.mapping({ kind: 'map', start, pages: 1 + below(30) });
    else if (kind === 1) out.mapping({ kind: 'unmap', start, pages: 1 + below(30) });
    else out.access(start, below(10), kind < 70, 1 + below(3));
  }
  out.flush();
}

describe.each<PlayDriver>(['nouveau', 'dmirror'])('with %s', (driver) => {
  it.each(CASES)('%j: what every mix does', (one) => {
    for (const mix of MIXES.values()) {
      const options = { pages: 64, devices: one.devices, accesses: 700, seed: 11 };
      compare(driver, one, (sink) => mix.generate(options, sink));
    }
  });

  it.each(CASES)('%j: mappings that come and go', (one) => {
    for (const seed of [1, 2, 3]) compare(driver, one, (sink) => disorder(seed, sink));
  });
});
