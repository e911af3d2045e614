/** hmmlab check-driver: runs the suite of shared behaviours on a driver in a file of its own. */
import { type CommandDef, defineCommand } from 'citty';
import { languageWith, loadDriver } from '../node/load-driver.ts';
import { InputError } from '../node/read-text.ts';
import { type CaseResult, type DriverCase, driverSuite, runCases } from '../testing/index.ts';
import colors from './colors.ts';
import { EXIT_DIFFERENT, EXIT_OK } from './errors.ts';
import { Breather, print } from './output.ts';

const args = {
  driver: {
    type: 'positional',
    description: 'A driver (.ts, .js) that exports a DriverFactory and a DriverSpec',
    required: true,
  },
  json: { type: 'boolean', description: 'One JSON object a case, and a summary' },
} as const;

export const checkDriverCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'check-driver', description: 'Runs the suite for drivers on one of yours' },
  args,
  async run({ args: given }) {
    const json = given.json === true;
    const counts = { ok: 0, failed: 0, skipped: 0 };
    const breather = new Breather();
    for (const result of runCases(await casesOf(given.driver))) {
      counts[result.outcome]++;
      print(json ? JSON.stringify(result) : lineOf(result));
      await breather.breathe();
    }
    const { ok, failed, skipped } = counts;
    const summary = `${ok} ok, ${failed} failed, ${skipped} skipped`;
    if (json) print(JSON.stringify({ driver: given.driver, ...counts }));
    else print((failed > 0 ? colors.red : colors.green)(`${given.driver}: ${summary}`));
    return failed > 0 ? EXIT_DIFFERENT : EXIT_OK;
  },
});

async function casesOf(path: string): Promise<readonly DriverCase[]> {
  const file = await loadDriver(path);
  const { spec } = file;
  // What `run --driver` would refuse is refused here.
  languageWith([file]);
  if (spec !== null) return driverSuite(spec);
  throw new InputError(
    `${path}: expected an export that is a DriverSpec, an object with name, create and toDevice, ` +
      'which tells the suite how to reach the driver; found none',
  );
}

const WORDS = {
  ok: colors.green('ok    '),
  failed: colors.red('FAILED'),
  skipped: colors.dim('skip  '),
} as const;

function lineOf({ name, outcome, message }: CaseResult): string {
  return `${WORDS[outcome]}  ${name}${message === '' ? '' : `: ${message}`}`;
}
