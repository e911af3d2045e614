// The player against one that is slow and plain, and against numbers worked out by hand.

import { describe, expect, it } from 'vitest';
import { ERAS, type EraName } from '../../../src/core/era.ts';
import { AccessWriter } from '../../../src/workloads/access-writer.ts';
import { MIXES } from '../../../src/workloads/mixes/index.ts';
import { BlockLru } from '../../../src/workloads/play/block-lru.ts';
import {
  type PlayDriver,
  Player,
  type PlayerOptions,
  type PlayReport,
  parseRule,
  playReport,
} from '../../../src/workloads/play/index.ts';
import type { AccessBatch, WorkloadSink } from '../../../src/workloads/types.ts';

type Given = Partial<Omit<PlayerOptions, 'rule'>> & { readonly rule?: string };

function newPlayer({ rule = 'thread', devices = 2, ...others }: Given = {}): Player {
  const parsed = parseRule(rule, devices, 4096);
  return new Player({ driver: 'nouveau', ...others, devices, rule: parsed });
}

/** Accesses as [page, thread, write]. */
function play(
  player: Player,
  accesses: readonly (readonly [number, number, boolean])[],
): PlayReport {
  const out = new AccessWriter(player);
  for (const [page, thread, write] of accesses) out.access(page, thread, write);
  out.flush();
  player.end();
  return playReport(player);
}

const DRIVERS: readonly PlayDriver[] = ['nouveau', 'dmirror'];

describe.each(DRIVERS)('with %s', (driver) => {
  it('a page goes to a device, home to the CPU, and to the next device', () => {
    const report = play(newPlayer({ driver }), [
      [1000, 0, true],
      [1000, 1, false],
      [1000, 1, true],
      [1000, 0, false],
      [1000, 2, false],
    ]);
    const [cpu, first, second] = report.agents;
    expect(report.mismatches).toBe(0);
    expect(report.findings).toEqual([]);
    expect(cpu).toMatchObject({ records: 2, stores: 1, pages: 0 });
    expect(first).toMatchObject({ records: 2, stores: 1, missed: 2, failed: 0, pages: 0 });
    expect(first!.device).toMatchObject({
      hostToDevice: { migrations: 1, pages: 1, bytes: 4096 },
      deviceToHost: { migrations: 1, pages: 1 },
      causes: { cpu_fault: 1 },
    });
    expect(second).toMatchObject({ missed: 1, pages: 1 });
    expect(second!.device!.hostToDevice.pages).toBe(1);
  });

  it('a page of another device comes by way of RAM', () => {
    const report = play(newPlayer({ driver }), [
      [1000, 1, true],
      [1000, 2, false],
    ]);
    const [, first, second] = report.agents;
    expect(first!.device!.deviceToHost.pages).toBe(1);
    expect(first!.device!.causes).toEqual({ device_fault: 1 });
    expect(second).toMatchObject({ pages: 1, failed: 0 });
    expect(report.mismatches).toBe(0);
  });

  it('a full device sends home what it used longest ago', () => {
    const pages = Array.from({ length: 64 }, (_, i) => i);
    const rule = 'thread:*=gpu0';
    const player = newPlayer({ driver, devices: 1, devicePages: 32, rule, batch: 1 });
    const report = play(player, [
      ...pages.slice(0, 32).map((page) => [page, 0, true] as const),
      // The first block is used again, so that the second one has to go.
      [0, 0, false],
      ...pages.slice(32, 48).map((page) => [page, 0, true] as const),
    ]);
    const [cpu, gpu] = report.agents;
    expect(gpu!.device).toMatchObject({ evictedPages: 16, peakPages: 32, causes: { evict: 16 } });
    // That a runtime had the CPU touch pages is no fault of the program.
    expect(cpu!.missed).toBe(0);
    expect(report.mostMoved[0]).toEqual({ start: 0x10000, bytes: 0x10000, moves: 16 });
    expect(gpu!.pages).toBe(32);
    const { machine, proc } = player;
    const homes = [0, 16, 32].map((page) => machine.ownerOf(proc, page * 4096) === 'system');
    expect(homes).toEqual([false, true, false]);
    expect(report.mismatches).toBe(0);
  });

  const playAll = (era: EraName): number[] =>
    [...MIXES.values()].map((mix) => {
      const player = newPlayer({ driver, era, devices: 3, devicePages: 24 });
      mix.generate({ pages: 96, devices: 3, accesses: 3000, seed: 3 }, player);
      player.end();
      const { findings, agents, mismatches } = playReport(player);
      expect(findings).toEqual([]);
      expect(agents.reduce((sum, { accesses }) => sum + accesses, 0)).toBe(3000);
      expect(agents.map(({ failed }) => failed)).toEqual(agents.map(() => 0));
      return mismatches;
    });

  const asked = ERAS.map(({ name }) => name).filter((name) => name !== 'v5.6');
  it.each(asked)('keeps all contents in %s', (era) => {
    expect(playAll(era)).toEqual([...MIXES].map(() => 0));
  });

  it('loses contents in v5.6, where nobody asks whose page it is', () => {
    expect(Math.max(...playAll('v5.6'))).toBeGreaterThan(0);
  });
});

/** Passes each row on as a batch of its own. */
function rowByRow(player: Player): WorkloadSink {
  return {
    accesses: ({ count, vpn, thread, write, weight }: AccessBatch) => {
      for (let i = 0; i < count; i++) {
        const one = { count: 1, vpn: vpn.slice(i, i + 1), thread: thread.slice(i, i + 1) };
        player.accesses({ ...one, write: write.slice(i, i + 1), weight: weight.slice(i, i + 1) });
      }
    },
    mapping: (change) => player.mapping(change),
  };
}

describe('a batch', () => {
  it('is played as its rows are, one at a time', () => {
    for (const [, mix] of MIXES) {
      const options = { pages: 128, devices: 2, accesses: 4000, seed: 5 };
      const whole = newPlayer({ devicePages: 40 });
      mix.generate(options, whole);
      whole.end();
      const single = newPlayer({ devicePages: 40 });
      mix.generate(options, rowByRow(single));
      single.end();
      expect(playReport(single)).toEqual(playReport(whole));
    }
  });

  it('of more accesses at a time changes faults, not contents', () => {
    const options = { pages: 128, devices: 2, accesses: 4000, seed: 5 };
    for (const batch of [1, 7, 4096]) {
      const player = newPlayer({ batch, devicePages: 40 });
      MIXES.get('hot-cold')!.generate(options, player);
      player.end();
      expect(playReport(player)).toMatchObject({ mismatches: 0, findings: [], batch });
    }
  });
});

const pagesFrom = (
  first: number,
  count: number,
  thread: number,
): (readonly [number, number, boolean])[] =>
  Array.from({ length: count }, (_, i) => [first + i, thread, true] as const);

describe('memory', () => {
  it('that no mapping was told of is mapped in pieces', () => {
    const report = play(newPlayer(), [
      [5, 0, false],
      [511, 0, true],
      [512, 1, true],
    ]);
    expect(report.unannounced).toBe(2);
    expect(report.agents.map(({ failed }) => failed)).toEqual([0, 0, 0]);
  });

  it('beyond the addresses of a process is moved below', () => {
    expect(play(newPlayer(), [[2 ** 40, 0, true]])).toMatchObject({ folded: 1, mismatches: 0 });
  });

  it('that is mapped anew holds zeros', () => {
    const player = newPlayer();
    const out = new AccessWriter(player);
    out.mapping({ kind: 'map', start: 64, pages: 4 });
    out.access(64, 0, true);
    out.access(65, 1, true);
    out.mapping({ kind: 'unmap', start: 64, pages: 4 });
    out.mapping({ kind: 'map', start: 64, pages: 4 });
    out.access(64, 0, false);
    out.access(65, 1, false);
    out.flush();
    player.end();
    expect(playReport(player)).toMatchObject({ mismatches: 0, unannounced: 0, findings: [] });
  });

  it('beyond the addresses of a process is moved below, of larger pages too', () => {
    const rule = parseRule('thread', 1, 65_536);
    const player = new Player({ driver: 'nouveau', devices: 1, rule, pageSize: 65_536 });
    const accesses = [2 ** 30 - 1, 2 ** 30, 2 ** 32].map((page) => [page, 1, true] as const);
    expect(play(player, accesses)).toMatchObject({ folded: 2, mismatches: 0, findings: [] });
    expect(playReport(player).agents[1]).toMatchObject({ pages: 2, failed: 0 });
  });

  const full: [string, (readonly [number, number, boolean])[]][] = [
    ['by the CPU', pagesFrom(0, 40, 0)],
    [
      'by pages that a device must let go',
      [...pagesFrom(0, 8, 1), ...pagesFrom(64, 15, 0), ...pagesFrom(128, 1, 1)],
    ],
  ];
  it.each(full)('that is full is told: %s', (_name, accesses) => {
    const player = newPlayer({ ramBytes: 16 * 4096, devicePages: 8 });
    expect(() => play(player, accesses)).toThrow('RAM of 16 pages is full');
  });
});

describe('rules', () => {
  const agentOf = (text: string, vpn: number, thread: number, before: number): number =>
    parseRule(text, 2, 4096).agentOf(vpn, thread, before);

  it('say who makes an access', () => {
    expect([0, 1, 2, 3].map((thread) => agentOf('thread', 9, thread, 0))).toEqual([0, 1, 2, 0]);
    expect([0, 1, 2].map((thread) => agentOf('thread:0=gpu1,*=gpu0', 9, thread, 0))).toEqual([
      2, 1, 1,
    ]);
    expect([0, 15, 16, 32, 48].map((vpn) => agentOf('range', vpn, 0, 0))).toEqual([0, 0, 1, 2, 0]);
    expect([0, 1, 2].map((vpn) => agentOf('range:4096', vpn, 0, 0))).toEqual([0, 1, 2]);
    const ranges = 'range:0x1000-0x3000=gpu0,0x5000-0x6000=gpu1,*=cpu';
    expect([0, 1, 2, 3, 5].map((vpn) => agentOf(ranges, vpn, 0, 0))).toEqual([0, 1, 1, 0, 2]);
    expect([0, 9, 10, 20, 30].map((before) => agentOf('phase:10', 0, 0, before))).toEqual([
      0, 0, 1, 2, 0,
    ]);
  });

  it.each([
    'who',
    'thread:0',
    'thread:0=gpu2',
    'thread:0=tpu',
    'range:100',
    'range:0x2000-0x1000=gpu0',
    'phase:0',
    'phase:x',
    '',
  ])('are refused: %j', (text) => {
    expect(() => parseRule(text, 2, 4096)).toThrow(/expected /);
  });

  it.each([3, -1, Number.NaN])('of others name an agent that there is: %d is none', (agent) => {
    const rule = { text: 'mine', agentOf: () => agent };
    const player = new Player({ driver: 'nouveau', devices: 2, rule });
    expect(() => play(player, [[1, 0, false]])).toThrow('expected agents from 0 to 2');
  });

  it('need a device, and not too many', () => {
    expect(() => newPlayer({ devices: 0 })).toThrow('1 to 64 devices');
    expect(() => newPlayer({ devices: 65 })).toThrow('1 to 64 devices');
  });
});

describe('blocks by their last use', () => {
  it('come off as an array would give them', () => {
    const lru = new BlockLru();
    let model: number[] = [];
    let state = 1;
    for (let i = 0; i < 5000; i++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      const block = (state >>> 8) % 200;
      if ((state >>> 20) % 5 === 0) {
        expect(lru.takeOldest()).toBe(model.shift() ?? -1);
        continue;
      }
      lru.use(block);
      model = [...model.filter((one) => one !== block), block];
    }
    while (model.length > 0) expect(lru.takeOldest()).toBe(model.shift());
    expect(lru.takeOldest()).toBe(-1);
  });
});
