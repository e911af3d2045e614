// Blocks of threads in programs: how they run, what is known afterwards, what is held on purpose.

import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { describe, expect, it } from 'vitest';
import type { Explorer } from '../../src/core/sched/explorer.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import {
  type BuildOptions,
  buildMachine,
  finalState,
  type ProgramRunner,
  parsePrograms,
  parseRecording,
  type RunHooks,
  type RunOptions,
  resultLine,
  runProgram,
  withDependents,
} from '../../src/program/index.ts';
import { compareProgram } from '../../src/trace/index.ts';

const HEADER = ['machine ram 1MiB', 'device dmirror chunk 64KiB', 'device dmirror chunk 64KiB'];

interface Setting {
  readonly header?: readonly string[];
  readonly build?: BuildOptions;
  readonly hooks?: RunHooks;
  readonly options?: RunOptions;
}

function parse(lines: readonly string[], header: readonly string[] = HEADER) {
  const text = [...header, 'program a', ...lines, 'end'].join('\n');
  return parsePrograms(text, { file: 'f', language: LANGUAGE });
}

/** Runs one program; tells each result with its thread and label, and the text of the end. */
function run(lines: readonly string[], setting: Setting = {}) {
  const text = parse(lines, setting.header);
  const machine = buildMachine(text.machine, LANGUAGE, undefined, setting.build);
  let state = '';
  const hooks: RunHooks = {
    ...setting.hooks,
    beforeEnd(runner) {
      state = finalState(runner);
      expect(machine.verify()).toEqual([]);
      setting.hooks?.beforeEnd?.(runner);
    },
  };
  const done = [...runProgram(machine, text.programs[0]!, hooks, setting.options)];
  expect(machine.verify()).toEqual([]);
  expect(machine.kernel.pages.ramUsed).toBe(0);
  const results = done.map(({ step, result }) => [
    step.thread ?? '-',
    step.operation.name,
    Object.values(result).join(' '),
  ]);
  return { machine, results, state, steps: text.programs[0]!.steps };
}

/** Chooses at random who goes next, and notes where it was asked. */
class RandomExplorer implements Explorer {
  readonly points: Set<string> = new Set();
  readonly doing: Set<string> = new Set();
  readonly #random;

  constructor(seed: number) {
    this.#random = xoroshiro128plus(seed);
  }

  next: Explorer['next'] = (current, others, point) => {
    this.points.add(point);
    if (current !== null) this.doing.add(`${current.name}: ${current.doing}`);
    const all = current === null ? others : [current, ...others];
    return all[(this.#random.next() >>> 1) % all.length]!;
  };
}

/** RAM is full and a page is pinned: a fork would have to copy it. */
const NO_FORK = ['mmap 0 256 anon rw', 'cpu_write 0 0 256 1', 'page_pin 0 0 1'];

const RACE = [
  'mmap 0 2 anon rw',
  'cpu_write 0 0 2 5',
  'parallel',
  '  thread A',
  '    cpu_write 0 0 1 7',
  '    migrate_to_dev 0 0 0 1',
  '  thread B',
  '    r1 = dev_read 1 0 0 1',
  '    cpu_write 0 0 1 9',
  'join',
  'r2 = cpu_read 0 0 2',
];

describe('a block', () => {
  it('runs its threads, and the main thread after them', () => {
    const { results, steps } = run(RACE);
    expect(results).toEqual([
      ['-', 'mmap', '0'],
      ['-', 'cpu_write', 'ok,ok'],
      ['A', 'cpu_write', 'ok'],
      ['A', 'migrate_to_dev', '0 1 0 7'],
      ['B', 'dev_read', '0 1 1 7'],
      ['B', 'cpu_write', 'ok'],
      ['-', 'cpu_read', '9,6'],
    ]);
    expect(steps.map(({ index, thread, block, label }) => [index, thread, block, label])).toEqual([
      [0, null, null, null],
      [1, null, null, null],
      [2, 'A', 0, null],
      [3, 'A', 0, null],
      [4, 'B', 0, 'r1'],
      [5, 'B', 0, null],
      [6, null, null, 'r2'],
    ]);
  });

  it('may follow another at once, with the same names, and have threads that do nothing', () => {
    const { results, steps } = run([
      'parallel',
      'thread A',
      'mmap 0 1 anon rw',
      'thread B',
      'thread C',
      'mmap 1 1 anon rw',
      'join',
      'parallel',
      'thread A',
      'cpu_write 1 0 1 3',
      'thread B',
      'cpu_read 0 0 1',
      'join',
      'parallel',
      'thread A',
      'join',
    ]);
    expect(steps.map(({ block }) => block)).toEqual([0, 0, 1, 1]);
    expect(results.map(([thread, name]) => `${thread} ${name}`)).toEqual([
      'A mmap',
      'C mmap',
      'A cpu_write',
      'B cpu_read',
    ]);
  });

  it('lets others run while a thread waits', () => {
    const { results } = run([
      'mmap 0 1 anon rw',
      'cpu_write 0 0 1 5',
      'parallel',
      'thread A',
      'page_lock 0 0',
      'thread B',
      'page_lock 0 0',
      'page_unlock 0 0',
      'thread C',
      'cpu_write 0 0 1 6',
      'page_unlock 0 0',
      'join',
    ]);
    // B sleeps until C unlocks what A locked.
    expect(results.slice(2).map((one) => one.join(' '))).toEqual([
      'A page_lock 0',
      'C cpu_write ok',
      'C page_unlock 0',
      'B page_lock 0',
      'B page_unlock 0',
    ]);
  });

  it('keeps the process of each operation apart', () => {
    // Buffers that only one process has: whoever looks at those of another finds nothing.
    const lines = [
      'fork 1',
      'fork 2',
      'mmap 0 4 anon rw',
      '@1 mmap 1 4 anon rw',
      '@2 mmap 2 4 anon rw',
      'parallel',
      'thread A',
      '@1 cpu_write 1 0 4 20',
      'thread B',
      '@2 cpu_write 2 0 4 30',
      '@2 migrate_to_dev 0 2 0 4',
      'thread C',
      'cpu_write 0 0 4 40',
      'join',
      '@1 cpu_read 1 0 4',
      '@2 cpu_read 2 0 4',
      'cpu_read 0 0 4',
    ];
    let switches = 0;
    for (let seed = 1; seed <= 30; seed++) {
      const explorer = new RandomExplorer(seed);
      const { results } = run(lines, { build: { explorer } });
      expect(results.slice(-3).map(([, , data]) => data)).toEqual([
        '20,21,22,23',
        '30,31,32,33',
        '40,41,42,43',
      ]);
      switches += explorer.points.size;
      expect([...explorer.doing]).toContain('B: line 14: @2 cpu_write 2 0 4 30');
    }
    expect(switches).toBeGreaterThan(30);
  });

  it('comes to more than one end, and each of them is told apart', () => {
    const ends = new Map<string, number>();
    for (let seed = 1; seed <= 60; seed++) {
      const { state } = run(RACE, { build: { explorer: new RandomExplorer(seed) } });
      ends.set(state, (ends.get(state) ?? 0) + 1);
    }
    expect(ends.size).toBeGreaterThan(3);
    // The same choices, the same end.
    const again = () => run(RACE, { build: { explorer: new RandomExplorer(7) } }).state;
    expect(again()).toBe(again());
  });

  it('tells who was at which line when nobody can go on', () => {
    const lines = [
      'mmap 0 1 anon rw',
      'cpu_write 0 0 1 1',
      'parallel',
      'thread A',
      'page_lock 0 0',
      'page_lock 0 0',
      'thread B',
      'page_lock 0 0',
      'join',
    ];
    const failed: string[] = [];
    const hooks: RunHooks = { failed: (step) => failed.push(`${step.line}`) };
    expect(() => run(lines, { hooks })).toThrow(
      /no task can ever run again:\n {2}caller waits for the end of A, B, held by A, B\n {2}A \(line 10: page_lock 0 0\) waits for/,
    );
    expect(failed).toHaveLength(1);
  });

  it('names the operation that went wrong', () => {
    const lines = [
      ...NO_FORK,
      'parallel',
      'thread A',
      'cpu_read 0 0 1',
      'thread B',
      'fork 1',
      '@1 cpu_read 0 0 1',
      'join',
    ];
    const failed: string[] = [];
    const hooks: RunHooks = { failed: ({ line }, error) => failed.push(`${line} ${error}`) };
    expect(() => run(lines, { hooks })).toThrow('process 1 does not exist: its fork failed');
    expect(failed).toEqual(['13 SimError: process 1 does not exist: its fork failed']);
  });

  it('ends with all its processes, whenever the caller stops', () => {
    const { programs, machine: spec } = parse([...RACE, 'fork 1', '@1 page_pin 0 0 2']);
    const machine = buildMachine(spec, LANGUAGE);
    for (let count = 1; count <= 9; count++) {
      let done = 0;
      for (const _ of runProgram(machine, programs[0]!)) if (++done === count) break;
      expect(done).toBe(count);
      expect(machine.processes.size).toBe(0);
      expect(machine.drivers).toHaveLength(2);
      expect(machine.verify()).toEqual([]);
    }
  });
});

describe('processes and buffers of a block', () => {
  it('are known afterwards', () => {
    const { results } = run([
      'mmap 0 1 anon rw',
      'parallel',
      'thread A',
      'fork 1',
      '@1 mmap 1 1 anon rw',
      '@1 cpu_write 1 0 1 8',
      'thread B',
      'mmap 2 1 anon rw',
      'fork 2',
      '@2 exit',
      'join',
      '@1 cpu_read 1 0 1',
      'cpu_read 2 0 1',
    ]);
    expect(results.at(-2)).toEqual(['-', 'cpu_read', '8']);
  });
});

describe('what a program does on purpose', () => {
  it('locks pages, which a migration leaves where they are', () => {
    const { results, state } = run([
      'mmap 0 2 anon rw',
      'cpu_write 0 0 2 5',
      'page_lock 0 1',
      'migrate_to_dev 0 0 0 2',
      'page_unlock 0 1',
      'page_unlock 0 1',
      'migrate_to_dev 0 0 0 2',
      'page_lock 0 0',
      'page_lock 0 2',
      'mmap 1 1 anon rw',
      'cpu_read 1 0 1',
      'page_lock 1 0',
    ]);
    expect(results.map(([, , values]) => values)).toEqual([
      '0',
      'ok,ok',
      '0',
      // One page is not the device's, so it cannot read both back.
      'ENOENT 0 0',
      '0',
      'EINVAL',
      '0 2 0 5,6',
      '0',
      'EFAULT',
      '0',
      '0',
      'EFAULT',
    ]);
    expect(state).toContain('process 0 buffer 0: 5/hmm_dmirror0/device 6/hmm_dmirror0/device');
  });

  it('pins pages, all of them or none', () => {
    const check = (runner: ProgramRunner): void => expect(runner.machine.verify()).toEqual([]);
    const { results } = run(
      [
        'mmap 0 2 anon rw',
        'page_pin 0 0 2',
        'migrate_to_dev 0 0 0 2',
        'page_pin 0 1 2',
        'page_unpin',
        'migrate_to_dev 0 0 0 2',
        'mmap 1 1 anon r',
        'page_pin 1 0 1',
        'page_pin 0 0 2',
      ],
      { hooks: { afterStep: check } },
    );
    expect(results.map(([, , values]) => values)).toEqual([
      '0',
      '0',
      'ENOENT 0 0',
      'EFAULT',
      '0',
      '0 2 0 0,0',
      '0',
      'EFAULT',
      '0',
    ]);
  });

  it('makes an attempt fail, once, and forgets it at the end', () => {
    const lines = ['mmap 0 4 anon rw', 'fail ram 2', 'cpu_write 0 0 4 1', 'fail ram 1'];
    const text = parse(lines);
    const machine = buildMachine(text.machine, LANGUAGE);
    for (let i = 0; i < 2; i++) {
      const done = [...runProgram(machine, text.programs[0]!)];
      expect(done[2]!.result).toEqual({ data: ['ok', 'SIGKILL', 'ok', 'ok'] });
      expect(machine.kernel.faults).toBeNull();
    }
  });

  it('stands before a plan that was there already', () => {
    const { programs, machine: spec } = parse(['mmap 0 4 anon rw', 'cpu_write 0 0 4 1']);
    const withFault = parse(['mmap 0 4 anon rw', 'fail ram 1', 'cpu_write 0 0 4 1']);
    const machine = buildMachine(spec, LANGUAGE);
    let asked = 0;
    const plan = { fails: (site: string) => site === 'ram' && ++asked % 2 === 0 };
    machine.kernel.faults = plan;
    expect([...runProgram(machine, programs[0]!)][1]!.result).toEqual({
      data: ['ok', 'SIGKILL', 'ok', 'SIGKILL'],
    });
    asked = 0;
    expect([...runProgram(machine, withFault.programs[0]!)][2]!.result).toEqual({
      data: ['SIGKILL', 'ok', 'SIGKILL', 'ok'],
    });
    expect(machine.kernel.faults).toBe(plan);
  });
});

describe('steps that are left out', () => {
  const lines = [
    'mmap 0 1 anon rw',
    'fork 1',
    'parallel',
    'thread A',
    '@1 cpu_write 0 0 1 3',
    'thread B',
    'r1 = cpu_write 0 0 1 4',
    'join',
    'expect r1.data=never',
    'r2 = cpu_read 0 0 1',
  ];

  it('take with them what needs them', () => {
    const program = parse(lines).programs[0]!;
    expect([...withDependents(program, new Set([1]))]).toEqual([1, 2]);
    const told: string[] = [];
    const hooks: RunHooks = { afterExpect: (_, { found }) => told.push(found) };
    const { results } = run(lines, { hooks, options: { omitted: new Set([1, 3]) } });
    expect(results.map(([, name]) => name)).toEqual(['mmap', 'cpu_read']);
    expect(told).toEqual([]);
  });

  it('may be those of a process whose fork failed', () => {
    const failing = [...NO_FORK, 'fork 1', 'parallel', 'thread A', '@1 exit', 'join'];
    expect(() => run(failing)).toThrow('process 1 does not exist');
    const { results } = run([...failing, 'fork 2', '@2 exit'], { options: { skipAbsent: true } });
    expect(results.slice(3).map(([, name, ret]) => `${name} ${ret}`)).toEqual([
      'fork ENOMEM',
      'fork ENOMEM',
    ]);
  });
});

describe('those who walk through programs', () => {
  it('compare eras with blocks', () => {
    const { machine, programs } = parse(RACE);
    const subject = { machine, program: programs[0]!, language: LANGUAGE };
    const { differences, operations, trespasses } = compareProgram(subject, ['v5.6', 'v6.1']);
    expect(operations).toBe(7);
    // Before owners, device 1 read what was device 0's without bringing it home.
    expect(differences.map(({ operation }) => operation)).toEqual(['dev_read 1 0 0 1']);
    expect(trespasses[0]!.list.map(({ operation }) => operation)).toEqual(['dev_read 1 0 0 1']);
  });

  it('write down the thread, which a recording may not have', () => {
    const { steps } = parse(RACE).programs[0]!;
    const line = resultLine(steps[2]!, { data: ['ok'] });
    expect(line).toBe('{"op":"cpu_write","thread":"A","args":[0,0,1,7],"data":["ok"]}');
    const text = ['{"kernel":"6.1"}', '{"program":"a"}', line].join('\n');
    expect(() => parseRecording(text, 'f', LANGUAGE)).toThrow(
      'f:3: expected an operation of no thread: recordings run one after another; found',
    );
  });
});

describe('rules of a header', () => {
  const spec = (line: string) => parse([], [line, ...HEADER.slice(1)]).machine;

  it('change single rules of the era', () => {
    const machine = buildMachine(
      spec('machine era v6.1 rules faultPage=false,selection=any-owner,freeDevicePageRefs=1'),
      LANGUAGE,
    );
    expect(machine.era).toMatchObject({
      name: 'v6.1',
      faultPage: false,
      selection: 'any-owner',
      freeDevicePageRefs: 1,
      anonExclusive: true,
    });
    expect(Object.isFrozen(machine.era)).toBe(true);
  });

  it('stay when another era takes the place of the one that is named', () => {
    const text = 'machine rules anonExclusive=false\nprogram a\nend';
    const { machine } = parsePrograms(text, { file: 'f', language: LANGUAGE, era: 'v6.12' });
    expect(buildMachine(machine, LANGUAGE).era).toMatchObject({
      name: 'v6.12',
      anonExclusive: false,
      upgradesCleanPages: true,
    });
  });

  it('hold in every era that is compared', () => {
    const { machine, programs } = parse(RACE, [
      'machine rules selection=flags,hmmFaultsForeign=true,hmmChecksOwner=true',
      ...HEADER.slice(1),
    ]);
    const subject = { machine, program: programs[0]!, language: LANGUAGE };
    expect(compareProgram(subject, ['v5.6', 'v6.1']).differences).toEqual([]);
  });
});
