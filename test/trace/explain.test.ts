// Why each owner had a page: complete chains, in words.

import { existsSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { EraName } from '../../src/core/era.ts';
import { SimError } from '../../src/core/errors.ts';
import type { SimEvent } from '../../src/core/events/types.ts';
import { Machine } from '../../src/core/machine.ts';
import { explainPage } from '../../src/trace/explain.ts';
import { explainLines } from '../../src/trace/explain-text.ts';
import { History, type Moment, unexplainedChanges } from '../../src/trace/history.ts';
import { Recorder } from '../../src/trace/recorder.ts';
import { HAND_OVER } from './programs.ts';
import { exampleText, recordProgram, TWO_GPUS } from './record.ts';

const BUFFER = 0x1_0000_0000;

function historyOf(text: string, era?: EraName): History {
  return new History(recordProgram(text, era).recording);
}

function textOf(history: History, pid: number, va: number, at?: Moment): string[] {
  return explainLines(explainPage(history, pid, va, at));
}

const ONE_DEVICE = `machine ram 64MiB
device dmirror private
device dmirror private
program one
mmap 0 2 anon rw
cpu_write 0 0 2 100
migrate_to_dev 0 0 0 2
migrate_to_dev 1 0 0 2
cpu_read 0 0 1
end
`;

const STORY = `process 1, page 0x100000000-0x100001000
  #8 to #30          system (RAM), frame 1
  #30 to #70         hmm_dmirror0, frame 66047
  #70 to #84         system (RAM), frame 2
  #84 to the end     nobody

#8  nobody -> system (RAM), at 0 ns
    call          #6      program, line 6: cpu_write 0 0 2 100
    CPU fault     #7      process 1 wanted to write 0x100000000: ok
    result        #8      system (RAM) has the page: frame 1

#30  system (RAM) -> hmm_dmirror0, at 0 ns
    call          #14     program, line 7: migrate_to_dev 0 0 0 2
    call          #15     hmm_dmirror0, MIGRATE_TO_DEV for process 1, 0x100000000-0x100002000: 0
    migration     #16     2 pages for hmm_dmirror0, by a call of the driver: RAM to hmm_dmirror0, 2 could move, 2 did
    steps                 collect #17, unmap #23, alloc_copy #25, pages #27, finalize #29
    told          #18     "migrate" by hmm_dmirror0: hmm_dmirror1 dropped what it maps there; hmm_dmirror0 let it pass as its own doing
    result        #30     hmm_dmirror0 has the page: frame 66047; it was frame 1

#40  a migration left it where it was, at 0 ns
    call          #38     program, line 8: migrate_to_dev 1 0 0 2
    call          #39     hmm_dmirror1, MIGRATE_TO_DEV for process 1, 0x100000000-0x100002000: -ENOENT
    migration     #40     2 pages for hmm_dmirror1, by a call of the driver: none could move
    result                the page stays with hmm_dmirror0

#70  hmm_dmirror0 -> system (RAM), at 0 ns
    call          #54     program, line 9: cpu_read 0 0 1
    CPU fault     #55     process 1 wanted to read 0x100000000: ok
    migration     #56     1 page for hmm_dmirror0, by a CPU fault: hmm_dmirror0 to RAM, 1 could move, 1 did
    steps                 collect #57, unmap #63, alloc_copy #65, pages #67, finalize #69
    told          #58     "migrate" by hmm_dmirror0: hmm_dmirror1 dropped what it maps there; hmm_dmirror0 let it pass as its own doing
    result        #70     system (RAM) has the page: frame 2; it was frame 66047

#84  system (RAM) -> nobody, at 0 ns
    call          #76     process 1, exit: 0
    told          #77     "release": hmm_dmirror0 and hmm_dmirror1 dropped what they map there
    told          #81     "unmap": hmm_dmirror0 and hmm_dmirror1 dropped what they map there
    result        #84     the process maps no page there any more
`;

describe('the life of a page', () => {
  it('reads as a story', () => {
    expect(`${textOf(historyOf(ONE_DEVICE), 1, BUFFER + 17).join('\n')}\n`).toBe(STORY);
  });

  it('names who took what was not his', () => {
    const text = textOf(historyOf(TWO_GPUS, 'v5.6'), 1, BUFFER).join('\n');
    expect(text).toMatch(
      /TRESPASS +#\d+ +nouveau1 took page frame \d+, which belongs to nouveau0\n/,
    );
    expect(text).toMatch(/^#\d+ {2}nouveau0 -> nouveau1, at 0 ns$/m);
    const modern = textOf(historyOf(TWO_GPUS), 1, BUFFER).join('\n');
    expect(modern).not.toContain('TRESPASS');
    expect(modern).toMatch(/^#\d+ {2}a migration left it where it was, at 0 ns$/m);
    expect(modern).toMatch(/^ +result +the page stays with nouveau0$/m);
  });
});

describe('one moment', () => {
  it('has the change that led to the owner then', () => {
    const history = historyOf(ONE_DEVICE);
    const changes = history.changes(1, BUFFER);
    for (const [i, change] of changes.entries()) {
      const end = changes[i + 1]?.id ?? history.recording.length + 1;
      for (const event of [change.id, end - 1]) {
        const page = explainPage(history, 1, BUFFER, { event });
        expect(page.owner).toBe(change.to);
        expect(page.steps).toMatchObject([{ type: 'change', change: { id: change.id } }]);
      }
    }
    const text = textOf(history, 1, BUFFER, { event: 45 });
    expect(text).toContain('at record #45 it belonged to hmm_dmirror0.');
    expect(text.filter((line) => line.startsWith('#'))).toEqual([
      '#30  system (RAM) -> hmm_dmirror0, at 0 ns',
    ]);
  });

  it('may lie before the first change', () => {
    const history = historyOf(ONE_DEVICE);
    const page = explainPage(history, 1, BUFFER, { event: 3 });
    expect(page).toMatchObject({ owner: null, steps: [] });
    expect(explainLines(page)).toContain(
      'at record #3 it belonged to nobody. No record before it speaks of the page.',
    );
    expect(textOf(history, 1, BUFFER, { timeNs: 0 })).toContain('at 0 ns it belonged to nobody.');
  });
});

describe('explainPage', () => {
  it('refuses a page that never was', () => {
    const history = historyOf(ONE_DEVICE);
    for (const [pid, va] of [
      [1, BUFFER + 2 * 4096],
      [2, BUFFER],
    ] as const) {
      expect(() => explainPage(history, pid, va)).toThrow(SimError);
      expect(() => explainPage(history, pid, va)).toThrow(/never had a page at 0x/);
    }
  });

  it('says where the recording does not reach back', () => {
    const machine = new Machine();
    const { mm } = machine.createProcess();
    machine.events.on('*', (_: SimEvent) => {});
    machine.events.cpuFaultBegin(mm, BUFFER, false);
    const recorder = new Recorder(machine);
    machine.events.ownerChange(mm, BUFFER, 3, null, 'system');
    machine.events.cpuFaultEnd(mm, BUFFER, 'ok');
    const page = explainPage(new History(recorder.stop()), mm.pid, BUFFER);
    expect(page.steps).toMatchObject([{ complete: false }]);
    expect(explainLines(page).join('\n')).toContain('came before the recording began');
  });

  it('tells copy-on-write as another frame, and fork as another mapping', () => {
    const text = textOf(historyOf(HAND_OVER), 2, BUFFER).join('\n');
    expect(text).toMatch(/^#\d+ {2}nobody -> .*\n +call +#\d+ +program, line \d+: fork 1$/m);
    expect(text).toMatch(/told +#\d+ +"protection_page" in process 1: /);
    expect(text).toMatch(/^#\d+ {2}system \(RAM\), another frame, at 0 ns$/m);
    expect(text).toMatch(/result +#\d+ +still system \(RAM\), but another one: frame \d+; it was/);
  });
});

describe('migrations that leave a page where it is', () => {
  it('are told once for each access or call', () => {
    const machine = new Machine();
    const { mm } = machine.createProcess();
    const { events } = machine;
    const recorder = new Recorder(machine);
    const [gpu, other] = [{ name: 'gpu' }, { name: 'other' }];
    const range = { mm, start: BUFFER, end: BUFFER + 4096 };
    const attempt = (owner: { readonly name: string }): void => {
      const migration = { ...range, owner, cause: 'driver' } as const;
      events.migrateBegin(migration);
      events.migrateEnd(migration, 1, 0);
    };
    for (let line = 1; line <= 2; line++) {
      const call = { ...range, actor: 'program', name: `line ${line}: x` };
      events.callBegin(call);
      if (line === 1) events.ownerChange(mm, BUFFER, 1, null, 'system');
      for (const owner of [gpu, gpu, gpu, other]) attempt(owner);
      events.callEnd(call, 0);
    }
    const page = explainPage(new History(recorder.stop()), mm.pid, BUFFER);
    const attempts = page.steps.filter((step) => step.type === 'attempt');
    expect(attempts.map(({ times }) => times)).toEqual([3, 1, 3, 1]);
    const titles = explainLines(page).filter((line) => line.startsWith('#'));
    expect(titles).toEqual([
      '#2  nobody -> system (RAM), at 0 ns',
      '#3  3 migrations in a row left it where it was, at 0 ns',
      '#9  a migration left it where it was, at 0 ns',
      '#13  3 migrations in a row left it where it was, at 0 ns',
      '#19  a migration left it where it was, at 0 ns',
    ]);
  });
});

/** Examples that need no driver from outside. */
const EXAMPLES = readdirSync(new URL('../../examples/', import.meta.url)).filter(
  (name) =>
    existsSync(new URL(`../../examples/${name}/program.txt`, import.meta.url)) &&
    !existsSync(new URL(`../../examples/${name}/my-driver.ts`, import.meta.url)),
);

describe('every page of every example', () => {
  it('is among many', () => {
    expect(EXAMPLES.length).toBeGreaterThanOrEqual(8);
  });

  it.each(EXAMPLES)('%s has a complete chain to an access or a call', (name) => {
    // Before v6.1 a GPU cannot be removed with live pages.
    const eras =
      name === '08-remove-device' ? [undefined] : ([undefined, 'v5.6', 'v5.10'] as const);
    for (const era of eras) {
      const history = historyOf(exampleText(name), era);
      expect(history.pages().length).toBeGreaterThan(3);
      expect(unexplainedChanges(history)).toEqual([]);
      for (const { pid, va } of history.pages()) {
        const page = explainPage(history, pid, va);
        const changes = page.steps.filter((step) => step.type === 'change');
        expect(changes.every(({ complete }) => complete)).toBe(true);
        expect(changes.map(({ change }) => change)).toEqual(history.changes(pid, va));
        for (const { change, steps } of changes) {
          const migrated = history.chain(change).some(({ kind }) => kind === 'migrate_phase');
          expect(steps.length > 0).toBe(migrated);
        }
        expect(explainLines(page).join('\n')).not.toMatch(/undefined|NaN|\[object/);
      }
    }
  });
});
