// On programs, too, pruning loses no outcome: compared with every schedule there is.

import { describe, expect, it } from 'vitest';
import type { SearchOptions } from '../../src/explore/types.ts';
import { endings, MACHINE, raceOf, scenarioOf, searched } from './programs.ts';

const ALL: SearchOptions = { strategy: 'exhaustive', keepGoing: true, outcomes: true };
/** A program is taken whose pruned search takes so few runs that all its schedules can be run. */
const PRUNED_RUNS = 40;
const ALL_RUNS = 8_000;

describe('exhaustive search of programs', () => {
  it.each([
    [[1, 1], 30],
    [[2, 1], 10],
    [[2, 2], 2],
  ] as const)('finds the same outcomes with and without pruning: steps %o', (steps, programs) => {
    let compared = 0;
    let saved = 0;
    for (let seed = 0; compared < programs && seed < 60 * programs; seed++) {
      const text = raceOf(seed, steps);
      const scenario = scenarioOf(text);
      const pruned = searched(scenario, { ...ALL, schedules: PRUNED_RUNS });
      if (!pruned.complete) continue;
      const limits = { mostPoints: 400, livelockPoints: 200 };
      const brute = searched(scenario, { ...ALL, ...limits, prune: false, schedules: ALL_RUNS });
      if (!brute.complete) continue;
      expect(endings(pruned), text).toEqual(endings(brute));
      const kinds = ({ findings }: typeof brute): unknown =>
        new Set(findings.map(({ failure }) => failure.kind));
      expect(kinds(pruned), text).toEqual(kinds(brute));
      saved += brute.progress.runs - pruned.progress.runs;
      compared++;
    }
    expect(compared).toBe(programs);
    expect(saved).toBeGreaterThan(100);
  });

  it('counts rounds of faults, not how often they pass a lock', () => {
    // A device read that faults twice takes mmap_lock more than three times.
    const scenario = scenarioOf(raceOf(34, [2, 1]));
    const few = searched(scenario, ALL);
    const states = endings(few);
    expect(states.some((state) => state.includes('"faults":2'))).toBe(true);
    expect(states).toEqual(endings(searched(scenario, { ...ALL, retries: 8 })));
  });

  it('ends where threads could go round in circles for ever', () => {
    const scenario = scenarioOf(`${MACHINE}
program two-faults
mmap 0 1 anon rw
migrate_to_dev 0 0 0 1
parallel
thread A
cpu_read 0 0 1
thread B
cpu_read 0 0 1
join
end
`);
    const search = searched(scenario, ALL);
    expect(search.complete).toBe(true);
    expect(search.notes).toEqual(['retries of one step beyond number 3 count as number 3']);
    // Each holds a reference that keeps the page from moving: so it is until v6.15.
    const kinds = search.findings.map(({ failure }) => failure.kind);
    expect(kinds).toEqual(['livelock']);
  });
});

describe('drivers with more state', () => {
  const programs: readonly (readonly [string, string, string])[] = [
    ['nouveau vram 2MiB mended', 'gpu_bind 0 0 0 1', 'cpu_write 0 0 1 5'],
    ['nouveau vram 2MiB mended', 'gpu_write 0 0 0 1 9', 'dontneed 0 0 1'],
    ['nouveau vram 2MiB faithful', 'gpu_read 0 0 0 1', 'cpu_write 0 0 1 5'],
    ['pgmaplab', 'lab_migrate 0 S 0 0 0 1', 'cpu_write 0 0 1 5'],
    ['pgmaplab', 'lab_pin 0 0 1 w pin', 'dontneed 0 0 1'],
    ['kvm-uvmem secure 1MiB', 'vm_slot 0 0 0 1 0', 'guest_write 0 1 5'],
    ['kvm-uvmem secure 1MiB', 'svm_off', 'cpu_write 0 0 1 5'],
  ];

  it.each(programs)('lose no outcome either: %s: %s beside %s', (device, one, other) => {
    const scenario = scenarioOf(`machine ram 1MiB
device ${device}
program two
mmap 0 1 anon rw
cpu_write 0 0 1 1
parallel
thread A
${one}
thread B
${other}
join
cpu_read 0 0 1
end
`);
    const limits = { mostPoints: 400, livelockPoints: 200 };
    const pruned = searched(scenario, { ...ALL, ...limits });
    expect(pruned.complete).toBe(true);
    expect(pruned.notes.join()).not.toMatch(/not recognised/);
    const brute = searched(scenario, { ...ALL, ...limits, prune: false, schedules: 10_000 });
    expect(brute.complete).toBe(true);
    expect(endings(pruned)).toEqual(endings(brute));
  });
});
