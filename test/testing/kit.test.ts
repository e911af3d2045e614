// The kit itself: the stranger, the leak check, what a suite refuses, and operations from a spec.

import { describe, expect, it } from 'vitest';
import { EFAULT } from '../../src/core/errno.ts';
import { Machine } from '../../src/core/machine.ts';
import { NO_PAGE, PAGE_SIZE } from '../../src/core/units.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { buildMachine, Language, parsePrograms, runProgram } from '../../src/program/index.ts';
import {
  type DriverSpec,
  driverSuite,
  factoryOf,
  leakCheck,
  Probe,
  runCases,
} from '../../src/testing/index.ts';

const SPEC: DriverSpec<Dmirror> = {
  name: 'mirror',
  create: () => new Dmirror({ chunkBytes: 512 * PAGE_SIZE }),
  toDevice: ({ file }, va, pages) => Math.min(0, file.migrateToDev(va, pages).ret),
  *toSystem({ file }, va, pages) {
    return (yield* file.migrateToSysTask(va, pages)).cpages;
  },
  *read({ file }, va) {
    const { ret, data } = yield* file.readTask(va, 1);
    return ret === 0 ? data[0]! : ret;
  },
  *write({ file }, va, value) {
    return (yield* file.writeTask(va, [value])).ret;
  },
};

describe('Probe', () => {
  function lab(type: 'private' | 'coherent' = 'private') {
    const machine = new Machine();
    const probe = machine.attach(new Probe({ type, pages: 8 }));
    const proc = machine.createProcess();
    const va = proc.mmap({ pages: 4 });
    for (let i = 0; i < 4; i++) proc.store32(va + i * PAGE_SIZE, i + 1);
    return { machine, probe, proc, va };
  }

  it('takes pages and sends them home', () => {
    const { machine, probe, proc, va } = lab();
    expect(probe.take(proc, va, 4)).toBe(4);
    expect(probe.freePages).toBe(4);
    expect(machine.ownerOf(proc, va)).toBe(probe);
    expect(probe.sendHome(proc, va, 2)).toBe(2);
    expect(proc.load32(va + 3 * PAGE_SIZE)).toBe(4);
    expect(probe.faults).toBe(1);
    expect(probe.pagemap.pagesInUse).toBe(1);
    expect(machine.verify({ full: true })).toEqual([]);
  });

  it('has coherent memory as well', () => {
    const { machine, probe, proc, va } = lab('coherent');
    expect(probe.take(proc, va, 2)).toBe(2);
    expect(proc.load32(va)).toBe(1);
    expect(probe.faults).toBe(0);
    expect(machine.ownerOf(proc, va)).toBe(probe);
    expect(probe.sendHome(proc, va, 2)).toBe(2);
    expect(machine.ownerOf(proc, va)).toBe('system');
  });

  it('takes no more than it has, and nothing where nothing is mapped', () => {
    const { probe, proc } = lab();
    const va = proc.mmap({ pages: 12 });
    expect(probe.take(proc, va, 12)).toBe(8);
    expect(probe.freePages).toBe(0);
    expect(probe.take(proc, va + 64 * PAGE_SIZE, 1)).toBeLessThan(0);
  });

  it('pins, and says so to verify', () => {
    const { machine, probe, proc, va } = lab();
    expect(probe.pin(proc, va, 2)).toBe(2);
    expect([...probe.heldReferences().values()]).toEqual([1024, 1024]);
    expect(machine.verify({ full: true })).toEqual([]);
    expect(probe.take(proc, va, 4)).toBe(2);
    probe.unpin();
    expect(probe.take(proc, va, 4)).toBe(2);
  });

  it('looks at pages of others, which come home, and takes pages for itself', () => {
    const { machine, probe, proc, va } = lab();
    const other = machine.attach(new Probe({ name: 'other' }));
    other.take(proc, va, 2);
    expect(probe.look(proc, va, 2)).toBe(0);
    expect(machine.ownerOf(proc, va)).toBe('system');
    expect(probe.look(proc, va + 64 * PAGE_SIZE, 1)).toBe(-EFAULT);
    expect(probe.exclusive(proc, va, 2)).toBe(2);
    expect(machine.verify({ full: true })).toEqual([]);
  });
});

describe('leakCheck', () => {
  it('ends every process and finds nothing', () => {
    const machine = new Machine();
    const probe = machine.attach(new Probe());
    const proc = machine.createProcess();
    const va = proc.mmap({ pages: 4 });
    proc.store32(va, 1);
    probe.take(proc, va, 4);
    proc.fork();
    expect(leakCheck(machine)).toEqual([]);
    expect(machine.processes.size).toBe(0);
  });

  it('names pages of a device and of RAM that never came back', () => {
    const machine = new Machine();
    const probe = machine.attach(new Probe());
    const proc = machine.createProcess();
    const va = proc.mmap({ pages: 1 });
    probe.take(proc, va, 1);
    const { pages } = machine.kernel;
    const page = machine.pageAt(proc, va)!;
    pages.get(page);
    expect(pages.allocate()).not.toBe(NO_PAGE);
    const leaks = leakCheck(machine);
    expect(leaks[0]).toBe(`1 device page of probe never came back: page ${page} (1 reference)`);
    expect(leaks[1]).toBe('1 page of RAM never came back');
  });
});

describe('driverSuite', () => {
  it('has unique names, each with its section', () => {
    const cases = driverSuite({ ...SPEC, eras: ['v5.10', 'v6.1'], pageSizes: [4096, 65536] });
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
    for (const { name, section } of cases) expect(name.startsWith(`${section}: `)).toBe(true);
    expect(cases.some(({ name }) => name.endsWith('(v5.10, 64 KiB pages)'))).toBe(true);
  });

  it('runs a case under one era without saying so', () => {
    const [first] = driverSuite(SPEC);
    expect(first!.name).toBe("owner: its device pages carry the driver's owner");
    expect(first!.run()).toBe(undefined);
  });

  it('gives the reason of every skip', () => {
    const { toDevice, create } = SPEC;
    const name = 'pages of files stay in RAM';
    const skips = { [name]: 'no files here', 'the zero page': () => null };
    const bare = { name: 'bare', create, toDevice, skips, eras: ['v5.6'] } as const;
    const results = [...runCases(driverSuite(bare))];
    const reason = (one: string): string | undefined =>
      results.find((result) => result.name.includes(one) && result.outcome === 'skipped')?.message;
    expect(reason(name)).toBe('no files here');
    expect(reason('ranges: the zero page')).toBe(undefined);
    expect(reason('a copy to RAM fails')).toBe('the spec has no failNextCopy');
    expect(reason('PROTECTION_VMA')).toBe('the spec has no read, no write');
    expect(reason('it leaves pages of another owner alone')).toBe(
      'migrate_vma looks at owners since v5.7',
    );
    expect(results.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  });

  it('refuses skips of cases that there are not, and without a reason', () => {
    expect(() => driverSuite({ ...SPEC, skips: { nonsense: 'why' } })).toThrow(
      'mirror: no case is named "nonsense"',
    );
    expect(() => driverSuite({ ...SPEC, skips: { 'the zero page': ' ' } })).toThrow(
      'mirror: a skip of "the zero page" needs its reason',
    );
  });

  it('tells an error of the driver as a failure of the case', () => {
    const broken: DriverSpec<Dmirror> = {
      ...SPEC,
      toDevice() {
        throw new TypeError('x is not a function');
      },
    };
    const [first] = runCases(driverSuite(broken));
    expect(first).toMatchObject({ outcome: 'failed', message: 'toDevice: x is not a function' });
  });

  it('does not take standing still for moving', () => {
    const idle: DriverSpec<Dmirror> = { ...SPEC, toDevice: () => 0 };
    const [first] = runCases(driverSuite(idle));
    expect(first!.message).toBe('toDevice moves 4 pages and answers 0, but page 0 is in RAM');
  });
});

describe('factoryOf', () => {
  const language = new Language({ drivers: [factoryOf(SPEC)], defaultDevices: ['mirror'] });

  function answers(...lines: string[]): unknown[] {
    const text = ['program p', 'mmap 0 4 anon rw', 'cpu_write 0 0 4 5', ...lines, 'end'].join('\n');
    const { machine, programs } = parsePrograms(text, { file: 'p', language });
    const steps = [...runProgram(buildMachine(machine, language), programs[0]!)];
    return steps.slice(2).map(({ result }) => result);
  }

  it('makes an operation of each call', () => {
    expect(
      answers(
        'mirror_to_device 0 0 4',
        'mirror_read 0 0 4',
        'mirror_write 0 0 2 40',
        'mirror_to_system 0 0 3',
        'cpu_read 0 0 4',
      ),
    ).toEqual([
      { ret: '0', pages: 0 },
      { ret: '0', data: [5, 6, 7, 8] },
      { ret: '0' },
      { ret: '0', pages: 3 },
      { data: [40, 41, 7, 8] },
    ]);
  });

  it('answers with the name of an error', () => {
    expect(answers('mirror_read 0 9 1', 'mirror_write 0 9 1 1', 'mirror_to_device 0 9 1')).toEqual([
      { ret: 'EFAULT' },
      { ret: 'EFAULT' },
      { ret: 'EINVAL' },
    ]);
  });

  it('works in every process that has the device open', () => {
    expect(answers('mirror_to_device 0 0 4', 'fork 1', '@1 mirror_read 0 1 1')).toEqual([
      { ret: '0', pages: 0 },
      { ret: '0' },
      { ret: '0', data: [6] },
    ]);
  });

  it('needs a name that can begin the name of an operation', () => {
    expect(() => factoryOf({ ...SPEC, name: 'My driver' })).toThrow(
      '"My driver" cannot begin the name of an operation',
    );
  });
});
