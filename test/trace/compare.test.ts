// Two eras side by side: what differs, where, since when, and which rule decides.

import { describe, expect, it } from 'vitest';
import { ERA_RULES, ERAS, type EraName } from '../../src/core/era.ts';
import { WaitQueue } from '../../src/core/sched/wait-queue.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import {
  type DeviceDriver,
  type DriverFactory,
  Language,
  operation,
  ProgramError,
} from '../../src/program/index.ts';
import {
  compareProgram,
  compareText,
  type ProgramComparison,
  readComparable,
} from '../../src/trace/compare.ts';
import type { Verdict } from '../../src/trace/compare-rules.ts';

function comparable(lines: readonly string[], eras?: readonly EraName[], language = LANGUAGE) {
  const options = { file: 'prog', language };
  return readComparable(lines.join('\n'), eras === undefined ? options : { ...options, eras });
}

/** The comparison of a text's only program. */
function compare(
  lines: readonly string[],
  eras?: readonly EraName[],
  language = LANGUAGE,
): ProgramComparison {
  const [only, ...others] = compareText(comparable(lines, eras, language), language);
  expect(others).toEqual([]);
  return only!;
}

function rulesOf({ rules }: Verdict): string[] {
  return rules.map(({ key, to }) => `${key}=${to}`);
}

/** The answers of one operation, as JSON. */
function answers({ differences }: ProgramComparison, at = 0): string[] {
  return differences[at]!.outcomes.map((outcome) => JSON.stringify(outcome));
}

/** Two labs of different owners; the second is asked to send home what it has. */
const SEED = [
  'program seed',
  'mmap 0 4 anon rw',
  'cpu_write 0 0 4 1',
  'lab_migrate null S 0 0 0 2',
  'lab_migrate null S 1 0 2 2',
  'lab_migrate 1 P ram 0 0 4',
  'end',
];

describe('what the seed patch changed', () => {
  it('is found with its rule, the pages, both owners and the trespass', () => {
    const found = compare(SEED, ['v5.6', 'v5.7']);
    expect(found.equal).toBe(false);
    expect(found.differences).toHaveLength(1);
    expect(found.differences[0]).toMatchObject({
      index: 4,
      line: 6,
      operation: 'lab_migrate 1 P ram 0 0 4',
    });
    const ram = 'VMW:0,VMW:0,VMW:1,VMW:1'.split(',');
    expect(found.differences[0]!.outcomes).toEqual([
      { result: { ret: '0', cpages: 4, setup: ram, pages: ram } },
      {
        result: {
          ret: '0',
          cpages: 2,
          setup: ['-', '-', ...ram.slice(2)],
          pages: ['-', '-', ...ram.slice(2)],
        },
      },
    ]);
    const why = found.differences[0]!.why[0]!;
    expect(why).toEqual({
      older: 'v5.6',
      newer: 'v5.7',
      rules: [
        {
          key: 'selection',
          from: 'any-owner',
          to: 'src-owner',
          summary: ERA_RULES[0]!.summary,
          since: 'v5.7',
          commit: '800bb1c8dc80',
        },
      ],
      need: 'one',
      back: true,
    });
    expect(found.pages).toEqual([
      {
        process: 0,
        buffer: 0,
        first: 0,
        last: 1,
        address: 0x1_0000_0000,
        aspects: ['owner', 'mapping'],
        states: [
          { era: 'v5.6', where: 'RAM', owner: 'system', mapping: 'rw', devices: {} },
          { era: 'v5.7', where: 'lab 0', owner: 'lab owner 0', mapping: 'device', devices: {} },
        ],
        contents: null,
        since: { index: 4, line: 6, operation: 'lab_migrate 1 P ram 0 0 4' },
        why: [why],
      },
    ]);
    const [old, cured] = found.trespasses;
    expect(cured).toEqual({ era: 'v5.7', count: 0, list: [] });
    expect(old!.count).toBe(2);
    expect(old!.list.map(({ page: _, ...others }) => others)).toEqual(
      [0x1_0000_0000, 0x1_0000_1000].map((va) => ({
        index: 4,
        line: 6,
        operation: 'lab_migrate 1 P ram 0 0 4',
        by: 'lab owner 1',
        what: 'migrate',
        owner: 'lab owner 0',
        process: 0,
        va,
      })),
    );
    expect(found.whyTrespasses).toEqual([why]);
  });

  it('is found where only the trespass shows: a dmirror asked for what another one has', () => {
    const found = compare(
      [
        'device dmirror',
        'device dmirror',
        'program two',
        'mmap 0 4 anon rw',
        'cpu_write 0 0 4 1',
        'migrate_to_dev 0 0 0 4',
        'migrate_to_dev 1 0 1 2',
        'end',
      ],
      ['v5.6', 'v5.10'],
    );
    // The reference driver refuses what it should not have been handed, so the page stays.
    expect(found.trespasses[1]).toEqual({ era: 'v5.10', count: 0, list: [] });
    expect(found.trespasses[0]!.list).toMatchObject([
      { line: 7, by: 'hmm_dmirror1', owner: 'hmm_dmirror0', process: 0, va: 0x1_0000_1000 },
      { line: 7, by: 'hmm_dmirror1', owner: 'hmm_dmirror0', process: 0, va: 0x1_0000_2000 },
    ]);
    expect(found.whyTrespasses.map(rulesOf)).toEqual([['selection=src-owner']]);
    expect(found.equal).toBe(false);
  });
});

describe('what the seed patch changed, with two GPUs', () => {
  const found = compare(
    [
      'device nouveau',
      'device nouveau',
      'program seed',
      'mmap 0 4 anon rw',
      'cpu_write 0 0 4 1',
      'gpu_bind 0 0 0 4',
      'gpu_write 0 0 0 2 70',
      'gpu_bind 1 0 0 4',
      'cpu_read 0 0 4',
      'end',
    ],
    ['v5.6', 'v5.7'],
  );

  it('names who took whose pages, and what was read from them', () => {
    const [v5_6, v5_7] = found.trespasses;
    expect(v5_7!.list).toEqual([]);
    expect(v5_6!.count).toBe(8);
    for (const trespass of v5_6!.list) {
      expect(trespass).toMatchObject({ by: 'nouveau1', owner: 'nouveau0', line: 8, process: 0 });
    }
    const addresses = [0, 1, 2, 3].map((page) => 0x1_0000_0000 + page * 0x1000);
    const of = (what: string) => v5_6!.list.filter((one) => one.what === what).map(({ va }) => va);
    expect(of('migrate')).toEqual(addresses);
    expect(of('read')).toEqual(addresses);
    expect(of('write')).toEqual([]);
  });

  it('shows that the contents are gone, and why', () => {
    const [lost, kept] = ['[4294967295,4294967295,4294967295,4294967295]', '[70,71,3,4]'];
    expect(answers(found)).toEqual([lost, kept].map((data) => `{"result":{"data":${data}}}`));
    expect(found.differences[0]!.why.map(rulesOf)).toEqual([['selection=src-owner']]);
    expect(found.pages.map(({ first, last }) => [first, last])).toEqual([[0, 3]]);
    expect(found.pages[0]).toMatchObject({
      aspects: ['contents'],
      contents: { word: 0, words: 1024, values: [0xffffffff, 70] },
      since: { line: 8, operation: 'gpu_bind 1 0 0 4' },
    });
    expect(found.pages[0]!.why.map(rulesOf)).toEqual([['selection=src-owner']]);
  });
});

describe('a comparison', () => {
  const PLAIN = ['program plain', 'mmap 0 2 anon rw', 'cpu_write 0 0 2 5', 'fork 1', 'end'];

  it('says that nothing differs where nothing does, in all eras', () => {
    const found = compare(PLAIN);
    expect(found.eras).toEqual(ERAS.map(({ name }) => name));
    expect(found).toMatchObject({ equal: true, differences: [], pages: [], stopped: null });
    expect(found.compared).toBe(3);
  });

  it('takes eras in any order and shows the oldest first', () => {
    expect(compare(PLAIN, ['v6.1', 'v5.6', 'v6.1']).eras).toEqual(['v5.6', 'v6.1']);
  });

  it('refuses less than two eras', () => {
    const { text } = comparable(PLAIN, ['v5.6', 'v5.7']);
    const subject = { program: text.programs[0]!, machine: text.machine, language: LANGUAGE };
    expect(() => compareProgram(subject, ['v5.6', 'v5.6'])).toThrow('two eras or more');
  });

  it('finds the first difference of all eras, and of neighbours that differ later', () => {
    const found = compare([
      'program steps',
      'mmap 0 4 anon rw',
      'cpu_write 0 0 4 1',
      'lab_migrate null S 0 0 0 4',
      'lab_where 0 0 1',
      'lab_migrate 1 P ram 0 0 4',
      'end',
    ]);
    expect(found.differences.map(({ line }) => line)).toEqual([5, 6]);
    const [first, later] = found.differences;
    expect(first!.why.map(({ older, newer }) => `${older} ${newer}`)).toEqual(['v5.10 v6.1']);
    expect(first!.why.map(rulesOf)).toEqual([['freeDevicePageRefs=0']]);
    expect(later!.why.map(({ older, newer }) => `${older} ${newer}`)).toEqual(['v5.6 v5.7']);
    const [v5_6, v5_7, v5_10, v6_1, v6_12] = answers(found);
    expect(v5_6).toContain('"refs":[2]');
    expect([v5_7, v5_10]).toEqual([v5_6, v5_6]);
    expect(v6_1).toContain('"refs":[1]');
    expect(v6_12).toBe(v6_1);
  });

  it('tells contents apart, page by page, and since when', () => {
    const found = compare(
      [
        'device pgmaplab',
        'program forgetful',
        'mmap 3 6 anon rw',
        'cpu_write 3 0 6 1',
        'lab_migrate null S 0 3 1 4',
        'lab_mode 0 forget',
        'fork 1',
        '@1 cpu_write 3 0 3 70',
        'cpu_read 3 5 1',
        'end',
      ],
      ['v5.10', 'v6.1'],
    );
    expect(found.differences[0]).toMatchObject({ line: 8, operation: '@1 cpu_write 3 0 3 70' });
    const folded = found.pages.map(({ process, first, last, contents }) => ({
      process,
      first,
      last,
      contents,
    }));
    expect(folded).toEqual([
      { process: 0, first: 1, last: 2, contents: null },
      { process: 1, first: 1, last: 2, contents: { word: 0, words: 1, values: [71, 2] } },
    ]);
    for (const page of found.pages) {
      expect(page).toMatchObject({ buffer: 3, since: { line: 8 } });
      expect(page.why.map(rulesOf)).toEqual([['faultPage=true']]);
      expect(page.address).toBe(0x1_3000_1000);
    }
  });

  it('counts the mapping of a device as a mapping', () => {
    // Since v5.9 a device may ignore that its own migration changes what it maps.
    const found = compare(
      [
        'device dmirror',
        'program own',
        'mmap 0 2 file rw',
        'dev_read 0 0 0 2',
        'migrate_to_dev 0 0 0 2',
        'end',
      ],
      ['v5.6', 'v5.10'],
    );
    expect(found.pages).toHaveLength(1);
    expect(found.pages[0]).toMatchObject({ first: 0, last: 1, aspects: ['mapping'] });
    expect(found.pages[0]!.states).toMatchObject([
      { devices: {} },
      { devices: { hmm_dmirror0: 'r' } },
    ]);
    expect(found.pages[0]!.why.map(rulesOf)).toEqual([['migrateEvent=true']]);
  });

  it('needs two rules where one is not enough', () => {
    const found = compare(
      [
        'device pgmaplab',
        'program both',
        'mmap 0 4 file rw',
        'cpu_write 0 0 1 5',
        'lab_migrate 1 P ram 0 0 4',
        'end',
      ],
      ['v5.6', 'v5.10'],
    );
    const why = found.differences[0]!.why[0]!;
    expect(why).toMatchObject({ need: 'all', back: true });
    expect(rulesOf(why)).toEqual(['selection=src-owner', 'collectsFileHoles=false']);
  });
});

// --- Machines that break down, and drivers of one's own -----------------------------------------

class Stubborn implements DeviceDriver {
  readonly name = 'stubborn';
  attach(): void {}
  open() {
    return { *release() {} };
  }
}

/** A driver that waits for ever, fails or tells its release, as long as a rule is not yet there. */
const stubborn: DriverFactory<Stubborn> = {
  name: 'stubborn',
  summary: 'a device that does not answer in old kernels',
  options: [],
  create: () => new Stubborn(),
  operations: [
    operation({
      name: 'stub_wait',
      summary: 'waits for what never comes, without MMU_NOTIFY_MIGRATE',
      args: [],
      *run({ machine }) {
        const { kernel, era } = machine;
        if (!era.migrateEvent)
          yield new WaitQueue(
            kernel.scheduler,
            () => 'Godot',
            () => [],
          );
        return { ret: '0' };
      },
    }),
    operation({
      name: 'stub_crash',
      summary: 'puts a page that nobody took, while free device pages have a reference',
      args: [],
      // biome-ignore lint/correctness/useYield: an operation is a task, also one that never sleeps
      *run({ machine }) {
        if (machine.era.freeDevicePageRefs === 1) machine.kernel.pages.put(0);
        return { ret: '0' };
      },
    }),
    operation({
      name: 'stub_release',
      summary: 'goes by the release',
      args: [],
      // biome-ignore lint/correctness/useYield: an operation is a task, also one that never sleeps
      *run({ machine }) {
        return { ret: machine.era.name };
      },
    }),
  ],
};
const STUBBORN = new Language({ drivers: [stubborn], defaultDevices: ['stubborn'] });

describe('operations that do not return', () => {
  it('are answers, after which nothing is compared', () => {
    const found = compare(
      ['program waits', 'mmap 0 1 anon rw', 'stub_wait', 'cpu_write 0 0 1 5', 'end'],
      ['v5.7', 'v5.10', 'v6.1'],
      STUBBORN,
    );
    expect(found).toMatchObject({ compared: 2, operations: 3, equal: false, pages: [] });
    expect(found.stopped).toMatchObject({ line: 3, operation: 'stub_wait', eras: ['v5.7'] });
    expect(found.differences).toHaveLength(1);
    const [hung, ...fine] = found.differences[0]!.outcomes;
    expect(hung).toMatchObject({ error: { code: 'deadlock' } });
    expect(JSON.stringify(hung)).toContain('Godot');
    expect(fine).toEqual([{ result: { ret: '0' } }, { result: { ret: '0' } }]);
    expect(found.differences[0]!.why.map(rulesOf)).toEqual([['migrateEvent=true']]);
  });

  it('are no difference where they are the same in all eras', () => {
    const lines = ['program waits', 'stub_wait', 'mmap 0 1 anon rw', 'end'];
    const found = compare(lines, ['v5.6', 'v5.7'], STUBBORN);
    expect(found).toMatchObject({ equal: true, compared: 1 });
    expect(found.stopped).toMatchObject({ line: 2, eras: ['v5.6', 'v5.7'] });
  });

  it('include those that break the machine', () => {
    const lines = ['program breaks', 'stub_crash', 'end'];
    const found = compare(lines, ['v5.10', 'v6.1'], STUBBORN);
    expect(found.differences[0]!.outcomes[0]).toMatchObject({ error: { code: 'refcount' } });
    expect(found.differences[0]!.why.map(rulesOf)).toEqual([['freeDevicePageRefs=0']]);
  });

  it('name the release where no rule decides', () => {
    const found = compare(['program goes', 'stub_release', 'end'], ['v6.1', 'v6.12'], STUBBORN);
    expect(found.differences[0]!.why.map(rulesOf)).toEqual([['release=v6.12']]);
  });
});

describe('a text that cannot be in every era', () => {
  const COHERENT = [
    'device dmirror',
    'device dmirror coherent',
    'program new',
    'mmap 0 1 anon rw',
    'migrate_to_dev 1 0 0 1',
    'end',
  ];

  it('is refused where such an era was asked for, with the line of the device and the era', () => {
    expect(() => comparable(COHERENT, ['v5.10', 'v6.1'])).toThrow(ProgramError);
    expect(() => comparable(COHERENT, ['v5.10', 'v6.1'])).toThrow(
      'prog:2: expected a device of era v5.10; found dmirror coherent, since v6.1',
    );
  });

  it('is compared in the others where none was', () => {
    const { eras, leftOut } = comparable(COHERENT);
    expect(eras).toEqual(['v6.1', 'v6.12']);
    expect(leftOut.map(({ era }) => era)).toEqual(['v5.6', 'v5.7', 'v5.10']);
    expect(leftOut[0]!.reason).toContain('prog:2');
  });

  it('says in which era a device of the machine without a header is missing', () => {
    const lines = ['program x', 'mmap 0 1 anon rw', 'dev_read 3 0 0 1', 'end'];
    expect(() => comparable(lines, ['v6.1', 'v5.7'])).toThrow('prog:3: expected device: a dmirror');
    expect(() => comparable(lines, ['v6.1', 'v5.7'])).toThrow('in era v5.7');
    expect(comparable(lines).eras).toEqual(['v6.1', 'v6.12']);
  });

  it('is refused as ever where it is wrong in all', () => {
    expect(() => comparable(['program x', 'nonsense', 'end'])).toThrow(
      'prog:2: expected an operation',
    );
  });

  it('gets the devices of the oldest era: machines differ in nothing else', () => {
    const { text } = comparable(['program x', 'mmap 0 1 anon rw', 'end'], ['v5.10', 'v6.1']);
    const devices = text.machine.devices.map(({ driver, options }) => [
      driver,
      ...Object.values(options),
    ]);
    expect(devices.flat()).not.toContain('coherent');
    expect(devices.filter(([driver]) => driver === 'dmirror')).toHaveLength(2);
  });
});
