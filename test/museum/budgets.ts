// How many schedules the search takes for each exhibit, from the worst of many seeds.
//
//     npx tsx test/museum/budgets.ts [--write]     --write: twice that into exhibits.json
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXHIBITS, type Exhibit, MUSEUM, scenarioOf, searched } from './museum.ts';

const SEEDS = 40;
const SCHEDULES_MAX = 20_000;

/** Schedules that the worst of the seeds takes. */
function worstOf(exhibit: Exhibit): number {
  const scenario = scenarioOf(exhibit, 'broken');
  const counts = Array.from({ length: SEEDS }, (_, i) => {
    const found = searched(scenario, exhibit, { seed: i + 1, schedules: SCHEDULES_MAX });
    if (found === null) throw new Error(`${exhibit.folder}: not found with seed ${i + 1}`);
    return found.index + 1;
  });
  return Math.max(...counts);
}

const measured = EXHIBITS.map((exhibit) => {
  const worst = worstOf(exhibit);
  const { folder, schedules } = exhibit;
  process.stdout.write(`${folder}  worst of ${SEEDS} seeds ${worst}, budget ${schedules}\n`);
  return { ...exhibit, schedules: 2 * worst };
});
if (process.argv.includes('--write')) {
  writeFileSync(join(MUSEUM, 'exhibits.json'), `${JSON.stringify(measured, null, 2)}\n`);
}
