// Running programs: machines from headers, processes, a driver's own operations, ownership maps.

import { describe, expect, it } from 'vitest';
import type { OpenFile } from '../../src/core/driver.ts';
import type { Process } from '../../src/core/process.ts';
import type { Task } from '../../src/core/sched/task.ts';
import { MiB } from '../../src/core/units.ts';
import { DRIVERS, LANGUAGE } from '../../src/drivers/index.ts';
import {
  buildMachine,
  type DeviceDriver,
  type DriverFactory,
  intArg,
  Language,
  type Options,
  type OptionValue,
  OwnershipMap,
  operation,
  ownershipTable,
  ProgramRunner,
  parsePrograms,
  parseRecording,
  replayRecording,
  resultLine,
  runProgram,
} from '../../src/program/index.ts';

function parse(lines: readonly string[], language = LANGUAGE) {
  return parsePrograms(lines.join('\n'), { file: 'f', language });
}

/** Runs the operations of one program; gives results by line, and the runner before its end. */
function run(lines: readonly string[], header: readonly string[] = []) {
  const text = parse([...header, 'program a', ...lines, 'end']);
  const machine = buildMachine(text.machine, LANGUAGE);
  const runner = new ProgramRunner(machine);
  const results = text.programs[0]!.steps.map((step) => runner.step(step));
  const map = new OwnershipMap(machine);
  return { machine, runner, results, drawn: map.draw(runner.processes.values()), map };
}

function typeOf({ type }: Options): OptionValue | undefined {
  return type;
}

describe('the machine of a header', () => {
  it('is that of the recordings without one', () => {
    const { machine } = parse(['program a', 'end']);
    expect(machine.era).toBe('v6.1');
    expect(machine.ramBytes).toBe(2048 * MiB);
    expect(machine.devices.map(({ driver, options }) => [driver, typeOf(options)])).toEqual([
      ['dmirror', 'private'],
      ['dmirror', 'private'],
      ['dmirror', 'coherent'],
      ['dmirror', 'coherent'],
      ['pgmaplab', undefined],
    ]);
  });

  it('has no coherent devices in eras before them', () => {
    const { machine } = parse(['machine era v5.10', 'program a', 'end']);
    expect(machine.devices.map(({ options }) => typeOf(options))).toEqual([
      'private',
      'private',
      undefined,
    ]);
  });

  it('has the devices that it names, and only those', () => {
    const { machine } = parse([
      'device dmirror chunk 16MiB coherent',
      'machine ram 64MiB era v6.12',
      'program a',
      'end',
    ]);
    expect(machine).toMatchObject({ era: 'v6.12', ramBytes: 64 * MiB, pageSize: 4096 });
    expect(machine.devices).toHaveLength(1);
    expect(machine.devices[0]).toMatchObject({
      driver: 'dmirror',
      options: { type: 'coherent', chunk: 16 * MiB },
    });
  });

  it('has pages of the size that it names', () => {
    const text = 'machine page 64KiB\nprogram a\nmmap 0 2 anon rw\ncpu_write 0 1 1 7\nend';
    const { machine: spec, programs } = parsePrograms(text, { file: 'f', language: LANGUAGE });
    const machine = buildMachine(spec, LANGUAGE);
    expect(machine.pageSize).toBe(65536);
    const results = [...runProgram(machine, programs[0]!)].map(({ result }) => result);
    expect(results).toEqual([{ ret: '0' }, { data: ['ok'] }]);
  });

  it('takes another era from the caller', () => {
    const options = { file: 'f', language: LANGUAGE, era: 'v5.7' } as const;
    expect(parsePrograms('machine era v6.1\nprogram a\nend', options).machine.era).toBe('v5.7');
  });
});

describe('a program', () => {
  it('may have tabs, comments, empty lines and the line ends of Windows', () => {
    const { programs } = parse([
      '# x\r',
      '\r',
      'program\ta\r',
      ' @0  mmap\t0 1 anon  rw\r',
      'end\r',
    ]);
    expect(programs[0]!.steps.map(({ words, line }) => [line, ...words])).toEqual([
      [4, '0', '1', 'anon', 'rw'],
    ]);
  });

  it('answers for buffers that are nowhere as for address 0', () => {
    const { results } = run([
      'mmap 0 2 anon rw',
      'munmap 0 0 2',
      'mremap 0 0 2 1',
      'cpu_read 1 0 1',
      'munmap 1 0 1',
      'mprotect 1 0 1 r',
      'pagemap 1 0 2',
    ]);
    expect(results.slice(2)).toEqual([
      { ret: 'EFAULT' },
      { data: ['SIGSEGV'] },
      { ret: '0' },
      { ret: 'ENOMEM' },
      { ptes: '..' },
    ]);
  });

  it('shows in pagemap what kind of page it is', () => {
    const { results } = run([
      'mmap 0 4 anon rw',
      'cpu_read 0 1 1',
      'cpu_write 0 2 2 1',
      'migrate_to_dev 0 0 3 1',
      'mmap 1 2 file rw',
      'cpu_read 1 0 1',
      'cpu_write 1 1 1 5',
      'pagemap 0 0 4',
      'pagemap 1 0 2',
      'fork 1',
      'pagemap 0 0 4',
    ]);
    expect(results.slice(7)).toEqual([
      { ptes: '.PPxS' },
      { ptes: 'PfxPx' },
      { ret: '0' },
      { ptes: '.PPS' },
    ]);
  });

  it('runs out of RAM as processes do', () => {
    const { results } = run(
      ['mmap 0 300 anon rw', 'cpu_write 0 0 300 1', 'mmap 1 300 file rw', 'cpu_read 1 0 1'],
      ['machine ram 1MiB'],
    );
    expect(results[1]).toEqual({
      data: [...Array(256).fill('ok'), ...Array(44).fill('SIGKILL')],
    });
    expect(results.slice(2)).toEqual([{ ret: 'ENOMEM' }, { data: ['SIGSEGV'] }]);
  });

  it('leaves nothing behind, whether it ends or is stopped', () => {
    const text = parse([
      'program a',
      'mmap 0 8 fileshared rw',
      'mmap 1 8 anon rw',
      'cpu_write 0 0 8 1',
      'cpu_write 1 0 8 1',
      'migrate_to_dev 1 1 0 4',
      'fork 1',
      '@1 lab_pin 1 4 4 w pin',
      '@1 cpu_read 0 0 8',
      'end',
    ]);
    const machine = buildMachine(text.machine, LANGUAGE);
    for (let steps = 1; steps <= 9; steps++) {
      let done = 0;
      for (const _ of runProgram(machine, text.programs[0]!)) {
        if (++done === steps) break;
      }
      expect(machine.processes.size).toBe(0);
      expect(machine.verify()).toEqual([]);
      expect(machine.kernel.pages.ramUsed).toBe(0);
    }
  });

  it('is written down as recordings are', () => {
    const { steps } = parse(['program a', 'mmap 0 2 anon rw', 'fork 1', '@1 exit', 'end'])
      .programs[0]!;
    expect(steps.map((step) => resultLine(step, { ret: '0' }))).toEqual([
      '{"op":"mmap","args":[0,2,"anon","rw"],"ret":"0"}',
      '{"op":"fork","args":[1],"ret":"0"}',
      '{"op":"exit","proc":1,"args":[],"ret":"0"}',
    ]);
  });
});

describe('the ownership map', () => {
  it('has a character for every kind of page', () => {
    const { drawn, map } = run([
      'mmap 0 8 anon rw',
      'cpu_read 0 1 1',
      'cpu_write 0 2 6 1',
      'migrate_to_dev 1 0 3 1',
      'lab_migrate 2 S 2 0 4 1',
      'exclusive 0 0 5 1',
      'migrate_to_dev 2 0 6 1',
    ]);
    expect(drawn).toEqual(['process 0  buffer 0  .zR1cX2R']);
    expect(map.legend(drawn)).toEqual([
      '. nothing',
      'z the zero page',
      'R RAM',
      'X RAM, exclusive to a device',
      '1 hmm_dmirror1',
      '2 hmm_dmirror2',
      'c lab 2',
    ]);
  });

  it('breaks long rows', () => {
    const { drawn } = run(['mmap 3 70 anon rw', 'cpu_write 3 63 3 1']);
    expect(drawn).toEqual([
      `process 0  buffer 3  +0     ${'.'.repeat(63)}R`,
      'process 0  buffer 3  +64    RR....',
    ]);
  });

  it('makes a row of the table for each page where processes differ', () => {
    const { machine, map, runner } = run([
      'mmap 0 3 anon rw',
      'cpu_write 0 0 3 1',
      'dev_read 0 0 0 3',
      'fork 1',
      '@1 cpu_write 0 1 1 9',
      '@1 dev_read 0 0 0 2',
    ]);
    const { columns, rows } = ownershipTable(machine, map, runner.processes.values());
    expect(columns.slice(0, 3)).toEqual(['process 0', 'process 1', 'hmm_dmirror0']);
    expect(
      rows.map(({ first, last, where, mappings }) => [first, last, where, ...mappings.slice(0, 3)]),
    ).toEqual([
      [0, 0, 'RAM', 'r', 'r', '1:r'],
      [1, 1, 'RAM', 'r', '', ''],
      [1, 1, 'RAM', '', 'rw', '1:rw'],
      [2, 2, 'RAM', 'r', 'r', ''],
    ]);
  });
});

describe('a driver of its own', () => {
  class Counter implements DeviceDriver {
    readonly name = 'counter';
    readonly closed: number[] = [];
    attach(): void {}
    open(proc: Process): OpenFile & { readonly pid: number } {
      const { closed } = this;
      return {
        pid: proc.pid,
        // biome-ignore lint/correctness/useYield: closing is a task, also where it does not sleep
        *release(): Task<void> {
          closed.push(proc.pid);
        },
      };
    }
  }
  const factory: DriverFactory<Counter> = {
    name: 'counter',
    summary: 'counts',
    options: [
      { kind: 'count', name: 'from', min: 1, max: 9, default: 1 },
      { kind: 'list', name: 'to', min: 0, max: 9, default: [0] },
      { kind: 'flags', name: 'defects', choices: ['deaf', 'slow', 'loud'] },
    ],
    check: ({ from, to }) =>
      (to as readonly number[]).includes(from as number)
        ? { expected: 'from that is not in to', found: String(from) }
        : null,
    create: () => new Counter(),
    operations: [
      operation({
        name: 'count',
        summary: 'adds',
        args: [intArg('number', 0, 9)],
        // biome-ignore lint/correctness/useYield: an operation is a task, also one that never sleeps
        *run(ctx, [number]) {
          const counter = ctx.devices(Counter)[0]!;
          return { sum: number + ctx.current.number, pid: ctx.file(counter).pid };
        },
      }),
    ],
  };
  const language = new Language({ drivers: [factory], defaultDevices: ['counter from 2'] });

  it('brings operations, and is opened by every process', () => {
    const text = parse(['program a', 'count 3', 'fork 5', '@5 count 3', 'end'], language);
    const machine = buildMachine(text.machine, language);
    const results = [...runProgram(machine, text.programs[0]!)].map(({ result }) => result);
    expect(results).toEqual([{ sum: 3, pid: 1 }, { ret: '0' }, { sum: 8, pid: 2 }]);
    expect((machine.drivers[0] as Counter).closed).toEqual([2, 1]);
  });

  it('checks its options', () => {
    const device = (words: string) => () =>
      parse([`device counter ${words}`, 'program a', 'end'], language);
    expect(device('to 1,2 from 3')().machine.devices[0]!.options).toEqual({
      to: [1, 2],
      from: 3,
      defects: [],
    });
    expect(device('from 2 defects loud,deaf')().machine.devices[0]!.options).toEqual({
      to: [0],
      from: 2,
      defects: ['loud', 'deaf'],
    });
    for (const [words, found] of [
      ['defects', 'the end of the line'],
      ['defects loud,', '"loud,"'],
      ['defects loud,loud', '"loud,loud"'],
      ['defects mute', '"mute"'],
    ] as const) {
      expect(device(`from 2 ${words}`)).toThrow(
        'f:1: expected defects: words with commas between them, each once, of deaf, slow, loud; ' +
          `found ${found}`,
      );
    }
    expect(device('to 1,2')).toThrow('f:1: expected from that is not in to; found 1');
    expect(device('from 0')).toThrow('f:1: expected from: a number from 1 to 9; found "0"');
    expect(device('to 1,10')).toThrow(
      'f:1: expected to: numbers from 0 to 9 with commas between them; found "1,10"',
    );
  });

  it('may not take a name that is taken', () => {
    const twice = { drivers: [...DRIVERS, ...DRIVERS], defaultDevices: [] };
    expect(() => new Language(twice)).toThrow('two operations are named dev_read');
  });
});

describe('a recording that differs', () => {
  const lines = [
    '{"kernel":"6.1"}',
    '{"program":"a"}',
    '{"op":"mmap","args":[0,2,"anon","rw"],"ret":"EINVAL"}',
    '{"op":"cpu_read","args":[0,0,1],"data":[7]}',
    '{"op":"cpu_read","args":[0,0,1],"data":[0]}',
    '{"program":"b"}',
    '{"proc":0,"op":"mmap","ret":"0","args":[0,2,"anon","rw"]}',
    '{"program":"c"}',
  ];

  it('tells the first difference of each program and counts all', () => {
    const recording = parseRecording(lines.join('\n'), 'f', LANGUAGE);
    const reports = [...replayRecording(recording, LANGUAGE)];
    expect(reports.map(({ program, operations, equal }) => [program, operations, equal])).toEqual([
      ['a', 3, 1],
      ['b', 1, 1],
      ['c', 0, 0],
    ]);
    expect(reports[0]!.difference).toEqual({
      file: 'f',
      program: 'a',
      line: 3,
      operation: 'mmap 0 2 anon rw',
      expected: '{"ret":"EINVAL"}',
      got: '{"ret":"0"}',
      mapBefore: [],
      mapAfter: ['process 0  buffer 0  ..'],
      legend: ['. nothing'],
    });
    expect(reports[1]!.difference).toBeNull();
  });
});
