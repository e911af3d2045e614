// Small programs of two threads that race for a page or two.

import { LANGUAGE } from '../../src/drivers/index.ts';
import {
  type ProgramScenarioOptions,
  programScenario,
} from '../../src/explore/program-scenario.ts';
import { Random } from '../../src/explore/random.ts';
import { explore } from '../../src/explore/search.ts';
import type { Scenario, Search, SearchOptions } from '../../src/explore/types.ts';
import { parsePrograms } from '../../src/program/parse.ts';

export const MACHINE = 'machine ram 1MiB\ndevice dmirror private chunk 1MiB\n';

/** The only program of a text, as something to explore. */
export function scenarioOf(text: string, options: ProgramScenarioOptions = {}): Scenario {
  const parsed = parsePrograms(text, { file: 'test', language: LANGUAGE });
  return programScenario(parsed, parsed.programs[0]!, LANGUAGE, options);
}

export function searched(scenario: Scenario, options: SearchOptions): Search {
  const search = explore(scenario, options);
  while (search.step());
  return search;
}

/** Different outcomes, in a fixed order. */
export function endings({ outcomes }: Search): string[] {
  return outcomes.map(({ state }) => state).sort();
}

const STEPS: readonly ((random: Random) => string)[] = [
  (random) => `cpu_read 0 ${range(random)}`,
  (random) => `cpu_write 0 ${range(random)} ${1 + random.below(50)}`,
  (random) => `dev_read 0 0 ${range(random)}`,
  (random) => `dev_write 0 0 ${range(random)} ${60 + random.below(50)}`,
  (random) => `migrate_to_dev 0 0 ${range(random)}`,
  (random) => `migrate_to_sys 0 0 ${range(random)}`,
  (random) => `dontneed 0 ${range(random)}`,
];

function range(random: Random): string {
  return random.below(4) === 0 ? '0 2' : `${random.below(2)} 1`;
}

/** A program whose two threads have so many steps. */
export function raceOf(seed: number, steps: readonly [number, number]): string {
  const random = new Random(seed, 77);
  const step = (): string => STEPS[random.below(STEPS.length)]!(random);
  const before = Array.from({ length: 1 + random.below(3) }, step);
  const thread = (count: number): string[] => Array.from({ length: count }, step);
  return `${MACHINE}
program race-${seed}
mmap 0 2 anon rw
${before.join('\n')}
parallel
thread A
${thread(steps[0]).join('\n')}
thread B
${thread(steps[1]).join('\n')}
join
cpu_read 0 0 2
end
`;
}
