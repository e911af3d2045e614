// Lines of KFD's SMI events: their exact form, which numbers stand for what, and what is left out.

import { describe, expect, it } from 'vitest';
import type { EventSource } from '../../src/trace/event-source.ts';
import { exportKfd } from '../../src/trace/export-kfd.ts';
import { KFD_FORMS, KFD_LINE_MAX } from './kfd-forms.ts';
import { HAND_OVER } from './programs.ts';
import { META, recordingOfText, type Sketch, sourceOf } from './sources.ts';

const PAGE = 4096;
/** The numbers of the two devices of sources made by hand. */
const [GPU0, GPU1] = [...exportKfd(sourceOf([])).nodes.keys()].map((id) => id.toString(16));

function linesOf(source: EventSource): { lines: string[]; leftOut: Record<string, number> } {
  const { lines, leftOut } = exportKfd(source);
  const text = [...lines].join('');
  return { lines: text.split('\n').slice(0, -1), leftOut: Object.fromEntries(leftOut) };
}

function migration(fields: object, end: object): Sketch[] {
  const common = {
    kind: 'migrate',
    pid: 77,
    start: 0x7f0f15200000,
    end: 0x7f0f15200000 + 0x2c * PAGE,
    pages: 0x2c,
    cause: 'driver',
    owner: 'gpu0',
    from: undefined,
    to: undefined,
    ...fields,
  };
  return [
    { ...common, phase: 'begin', timeNs: 5 },
    { ...common, phase: 'end', begin: 1, selected: 44, migrated: 44, failed: 0, timeNs: 9, ...end },
  ] as unknown as Sketch[];
}

describe('exportKfd', () => {
  it('writes each line in the form of Linux 6.1', () => {
    const { lines, leftOut } = linesOf(recordingOfText(HAND_OVER));
    const ids = new Set(lines.map((line) => line[0]!));
    expect([...ids].sort()).toEqual(['5', '6', '7', '8', 'b']);
    for (const line of lines) {
      expect(line).toMatch(KFD_FORMS[line[0]!]!);
      expect(line.length).toBeLessThan(KFD_LINE_MAX);
    }
    const starts = lines.filter((line) => line.startsWith('5'));
    const ends = lines.filter((line) => line.startsWith('6'));
    expect(starts.length).toBe(ends.length);
    expect(leftOut).toMatchObject({ cpu_fault: 17 });
  });

  it('writes migrations with page numbers, nodes and triggers', () => {
    const from = { from: 'system', to: 'gpu0' };
    expect(linesOf(sourceOf(migration({}, from))).lines).toEqual([
      `5 5 -77 @7f0f15200(2c) 0->${GPU0} ${GPU0}:0 0`,
      `6 9 -77 @7f0f15200(2c) 0->${GPU0} 0`,
    ]);
    const between = { from: 'gpu0', to: 'gpu1' };
    expect(linesOf(sourceOf(migration({ cause: 'device_fault' }, between))).lines).toEqual([
      `5 5 -77 @7f0f15200(2c) ${GPU0}->${GPU1} 0:0 1`,
      `6 9 -77 @7f0f15200(2c) ${GPU0}->${GPU1} 1`,
    ]);
  });

  it.each([
    ['driver', 0],
    ['device_fault', 1],
    ['cpu_fault', 2],
    ['pin', 2],
    ['evict', 3],
  ])('gives the cause %s the trigger %i', (cause, trigger) => {
    const { lines } = linesOf(sourceOf(migration({ cause }, { from: 'gpu0', to: 'system' })));
    expect(lines.map((line) => line.at(-1))).toEqual([String(trigger), String(trigger)]);
  });

  it('counts in pages of 4 KiB whatever those of the machine are', () => {
    const from = { from: 'system', to: 'gpu0' };
    const range = { start: 0x20000, end: 0x40000, pages: 2 };
    const meta = { ...META, pageSize: 65536 };
    const { lines } = linesOf(sourceOf(migration(range, from), meta));
    expect(lines[0]).toContain('@20(20)');
  });

  it('splits migrations that went several ways, or have no process, into runs of pages', () => {
    const [begin, end] = migration({ pid: null, cause: 'evict' }, { migrated: 4 });
    const change = (page: number, from: string, pid = 7): Sketch =>
      ({
        kind: 'owner_change',
        pid,
        va: page * PAGE,
        page,
        from,
        to: 'system',
        parent: 1,
      }) as Sketch;
    const source = sourceOf([
      begin!,
      change(17, 'gpu0'),
      change(16, 'gpu0'),
      change(18, 'gpu1'),
      change(20, 'gpu0'),
      change(16, 'gpu0', 8),
      end!,
    ]);
    const { lines } = linesOf(source);
    expect(lines.filter((line) => line.startsWith('5'))).toEqual([
      `5 5 -7 @10(2) ${GPU0}->0 0:0 3`,
      `5 5 -7 @12(1) ${GPU1}->0 0:0 3`,
      `5 5 -7 @14(1) ${GPU0}->0 0:0 3`,
      `5 5 -8 @10(1) ${GPU0}->0 0:0 3`,
    ]);
    expect(lines.filter((line) => line.startsWith('6'))).toHaveLength(4);
  });

  it('leaves out and counts migrations it has no line for', () => {
    const from = { from: 'system', to: 'gpu0' };
    const nothing = { ...from, selected: 0, migrated: 0 };
    const cases: readonly (readonly [object, object, string])[] = [
      [{ cause: 'unknown' }, from, 'migrate of unknown cause'],
      [{}, nothing, 'migrate that moved nothing'],
      [{}, { from: 'system', to: 'system' }, 'migrate that moved nothing'],
    ];
    for (const [fields, end, what] of cases) {
      const { lines, leftOut } = linesOf(sourceOf(migration(fields, end)));
      expect(lines).toEqual([]);
      expect(leftOut).toEqual({ [what]: 1 });
    }
  });

  it('writes device faults, and whether pages moved', () => {
    const fault = {
      kind: 'device_fault',
      pid: 77,
      start: 0x7fa608127000,
      end: 0x7fa608128000,
      device: 'gpu1',
    } as const;
    const read = { ...fault, access: 'read' } as const;
    const atomic = { ...fault, access: 'atomic' } as const;
    const [begin, end] = migration({ cause: 'device_fault' }, { from: 'system', to: 'gpu1' });
    const { lines } = linesOf(
      sourceOf([
        { ...read, phase: 'begin', timeNs: 1 },
        // An attempt to serve it is no fault of its own.
        { ...read, phase: 'begin', parent: 1, timeNs: 2 },
        { ...read, phase: 'end', begin: 2, parent: 1, result: 0, timeNs: 3 },
        { ...read, phase: 'end', begin: 1, result: 0, timeNs: 4 },
        { ...atomic, phase: 'begin', timeNs: 5 },
        { ...begin!, parent: 5 },
        { ...end!, parent: 5, begin: 6 } as Sketch,
        { ...atomic, phase: 'end', begin: 5, result: 0, timeNs: 10 },
      ]),
    );
    expect(lines).toEqual([
      `7 1 -77 @7fa608127(${GPU1}) R`,
      `8 4 -77 @7fa608127(${GPU1}) U`,
      `7 5 -77 @7fa608127(${GPU1}) W`,
      `5 5 -77 @7f0f15200(2c) 0->${GPU1} 0:0 1`,
      `6 9 -77 @7f0f15200(2c) 0->${GPU1} 1`,
      `8 10 -77 @7fa608127(${GPU1}) M`,
    ]);
  });

  it('writes what devices unmap, and why', () => {
    const call = {
      kind: 'invalidate_call',
      pid: 3,
      start: 16 * PAGE,
      end: 18 * PAGE,
      owner: null,
      notifier: 'gpu0',
      ignored: false,
    } as const;
    const { lines, leftOut } = linesOf(
      sourceOf([
        { ...call, event: 'migrate' },
        { ...call, event: 'unmap' },
        { ...call, event: 'protection_page' },
        { ...call, event: 'migrate', ignored: true },
        { ...call, event: 'release' },
        { ...call, event: 'migrate', notifier: 'nobody' },
      ]),
    );
    expect(lines.map((line) => line.replace(/ \d+ -3/, ''))).toEqual([
      `b @10(2) ${GPU0} 1`,
      `b @10(2) ${GPU0} 2`,
      `b @10(2) ${GPU0} 0`,
    ]);
    expect(leftOut).toEqual({
      'invalidate_call that was ignored': 1,
      'invalidate_call at exit': 1,
      'invalidate_call of no device': 1,
    });
  });

  it('writes suspend and resume for each process a device works for', () => {
    const call = { kind: 'call', actor: 'gpu0', start: 0, end: 0 } as const;
    const made = (name: string, pid: number | null, begin: number): Sketch[] => [
      { ...call, name, pid, phase: 'begin', timeNs: begin },
      { ...call, name, pid, phase: 'end', begin, result: 0, timeNs: begin },
    ];
    const source = sourceOf([
      ...made('BIND', 4, 1),
      ...made('BIND', 5, 3),
      ...made('suspend', null, 5),
      ...made('resume', null, 7),
    ]);
    const { lines, leftOut } = linesOf(source);
    expect(lines).toEqual([
      `9 5 -4 ${GPU0} 3`,
      `9 5 -5 ${GPU0} 3`,
      `a 7 -4 ${GPU0}`,
      `a 7 -5 ${GPU0}`,
    ]);
    expect(leftOut).toEqual({ call: 2 });
  });

  it('writes fatal faults with the process in hexadecimal', () => {
    const fault = { kind: 'fatal_fault', device: 'gpu0', va: 0, access: 'read' } as const;
    const { lines, leftOut } = linesOf(
      sourceOf([
        { ...fault, pid: 77, reason: 'x' },
        { ...fault, pid: null, reason: 'x' },
      ]),
    );
    expect(lines).toEqual(['1 4d:process-77']);
    expect(leftOut).toEqual({ fatal_fault: 1 });
  });

  it('takes the order of records for the time where there is none', () => {
    const [begin, end] = migration({}, { from: 'system', to: 'gpu0' });
    const source = sourceOf([
      { ...begin!, timeNs: 0 },
      { ...end!, timeNs: 0 },
    ] as Sketch[]);
    const { lines, usesTime } = exportKfd(source);
    expect([...lines].map((line) => line.split(' ')[1])).toEqual(['0', '1000']);
    expect(usesTime).toBe(false);
  });

  it('gives a device the same number in every recording, and no two the same', () => {
    const device = (name: string) => ({ name, driver: '', owners: [name] });
    const numbersOf = (names: readonly string[]): Map<string, number> => {
      const meta = { ...META, devices: names.map(device), owners: names };
      const { nodes } = exportKfd(sourceOf([], meta));
      return new Map([...nodes].map(([id, name]) => [name, id]));
    };
    const many = Array.from({ length: 2000 }, (_, i) => `gpu${i}`);
    const numbers = numbersOf(many);
    expect(new Set(numbers.values()).size).toBe(2000);
    expect(numbers.get('gpu0')).toBe(Number.parseInt(GPU0!, 16));
    expect(numbersOf(['other', 'gpu1']).get('gpu1')).toBe(Number.parseInt(GPU1!, 16));
    for (const id of numbers.values()) expect(id > 0 && id < 65536).toBe(true);
  });
});
