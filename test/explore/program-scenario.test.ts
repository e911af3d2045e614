// Programs as scenarios: what is checked, and that it can fail.

import { describe, expect, it } from 'vitest';
import { replay } from '../../src/explore/run-once.ts';
import { selfCheck } from '../../src/explore/self-check.ts';
import { shrink } from '../../src/explore/shrink.ts';
import { ORDINARY, parseToken, scheduleToken } from '../../src/explore/token.ts';
import type { FailureKind } from '../../src/explore/types.ts';
import { MACHINE, raceOf, scenarioOf, searched } from './programs.ts';

const TWO_FAULTS = `
program two-faults
mmap 0 1 anon rw
cpu_write 0 0 1 7
migrate_to_dev 0 0 0 1
parallel
thread A
r1 = cpu_read 0 0 1
thread B
r2 = cpu_write 0 0 1 8
join
r3 = cpu_read 0 0 1
expect r3.data=8
end
`;

describe('a race of two CPU faults on a device page', () => {
  it('is a livelock, found, shrunk and shown again by its token', () => {
    const scenario = scenarioOf(MACHINE + TWO_FAULTS);
    const { findings } = searched(scenario, { strategy: 'mix', schedules: 400 });
    const { failure, token } = findings[0]!;
    expect(failure.kind).toBe('livelock');
    expect(failure.message).toContain('A (line 10: cpu_read 0 0 1)');
    expect(failure.detail.join('\n')).toMatch(/repeats .*device-private fault/);
    const shrunk = shrink(scenario, parseToken(scenario, token), 'livelock')!;
    // The write before the migration is not needed; the faults and the migration are.
    expect(shrunk.schedule.omitted).toEqual([1, 5]);
    const again = replay(scenario, parseToken(scenario, shrunk.token));
    expect(again.failures[0]).toEqual(shrunk.failure);
  });

  it.each(['trylock', 'wait'])('is none where the fault locks the page first: %s', (rule) => {
    const machine = `machine ram 1MiB rules dpFaultLock=${rule}\ndevice dmirror private chunk 1MiB\n`;
    const search = searched(scenarioOf(machine + TWO_FAULTS), { schedules: 2_000 });
    expect(search.findings).toEqual([]);
    expect(search.progress.runs).toBe(2_000);
  });
});

describe('lost writes', () => {
  it('of a faithful dmirror are found: its notifier lets its own migrations pass', () => {
    const scenario = scenarioOf(`${MACHINE}
program lost
mmap 0 1 anon rw
dev_write 0 0 0 1 5
parallel
thread A
migrate_to_dev 0 0 0 1
thread B
dev_write 0 0 0 1 9
join
cpu_read 0 0 1
end
`);
    const { findings } = searched(scenario, { strategy: 'exhaustive', bound: 2 });
    expect(findings[0]?.failure.kind).toBe('lost_write');
    expect(findings[0]?.failure.message).toMatch(
      /^buffer 0 page 0 of process 0: .* loads 5, expected 9 \(B, line 11: dev_write 0 0 0 1 9, stored it last\)$/,
    );
  });
});

describe('expectations', () => {
  it('that do not hold are failures, with line and what was found', () => {
    const scenario = scenarioOf(`${MACHINE}
program order
mmap 0 1 anon rw
parallel
thread A
cpu_write 0 0 1 1
thread B
cpu_write 0 0 1 2
join
expect value(0,0)=2
end
`);
    const { findings } = searched(scenario, { schedules: 100 });
    expect(findings[0]?.failure).toEqual({
      kind: 'expectation',
      message: 'line 12: expected value(0,0)=2; found value(0,0)=1',
      detail: [],
    });
  });
});

describe('faults on purpose', () => {
  const text = `${MACHINE}
program fails
mmap 0 1 anon rw
parallel
thread A
r1 = cpu_write 0 0 1 1
thread B
r2 = migrate_to_dev 0 0 0 1
join
expect r1.data=ok
end
`;

  it('are decisions, and their token tells of them', () => {
    const scenario = scenarioOf(text);
    const faults = { sites: ['ram'], most: 1 } as const;
    const { findings } = searched(scenario, { strategy: 'exhaustive', bound: 0, faults });
    const { failure, token } = findings.find((one) => one.failure.kind === 'expectation')!;
    expect(failure.message).toBe('line 12: expected r1.data=ok; found r1.data=SIGKILL');
    expect(token).toMatch(/^h1-[0-9a-f]{4}-f1\.1-/);
    expect(replay(scenario, parseToken(scenario, token)).failures).toEqual([failure]);
  });

  it('do not happen unless asked for', () => {
    const scenario = scenarioOf(text, { checks: { lostWrites: false } });
    expect(searched(scenario, { strategy: 'exhaustive' }).findings).toEqual([]);
  });
});

describe('a page that somebody locks on purpose', () => {
  it('is in no order with the locks of the thread whose line says so', () => {
    const scenario = scenarioOf(`${MACHINE}
program held
mmap 0 2 anon rw
cpu_write 0 0 2 1
exclusive 0 0 0 1
parallel
thread A
page_lock 0 1
cpu_read 0 0 1
thread B
page_unlock 0 1
cpu_read 0 0 1
join
end
`);
    const search = searched(scenario, { strategy: 'exhaustive', keepGoing: true });
    expect(search.complete).toBe(true);
    expect(search.findings).toEqual([]);
  });
});

describe('every run', () => {
  it('of random races is deterministic, listened to or not', () => {
    for (let seed = 0; seed < 12; seed++) {
      const scenario = scenarioOf(raceOf(seed, [3, 3]));
      const search = searched(scenario, { schedules: 12, keepGoing: true, selfCheck: true });
      const kinds = new Set<FailureKind>(search.findings.map(({ failure }) => failure.kind));
      expect(kinds.has('nondeterminism')).toBe(false);
      for (const { schedule, failure } of search.findings) {
        expect(replay(scenario, schedule).failures).toContainEqual(failure);
        expect(selfCheck(scenario, schedule)).toBeNull();
      }
    }
  });

  it('of another program or machine has another token', () => {
    const token = scheduleToken(scenarioOf(raceOf(1, [1, 1])), ORDINARY);
    for (const other of [raceOf(2, [1, 1]), raceOf(1, [1, 1]).replace('ram 1MiB', 'ram 2MiB')]) {
      expect(() => parseToken(scenarioOf(other), token)).toThrow(/another program or machine/);
    }
    // Where it stands in its file is no part of it.
    const moved = raceOf(1, [1, 1]).replace('program', '# a remark\n\nprogram');
    expect(parseToken(scenarioOf(moved), token)).toEqual(ORDINARY);
  });
});
