/** The searches by name. */
import { SimError } from '../core/errors.ts';
import { ExhaustiveSearch } from './exhaustive.ts';
import { RandomSearch } from './random-search.ts';
import type { Scenario, Search, SearchOptions } from './types.ts';

/**
 * Searches the schedules of a scenario for failures.
 *
 *     const search = explore(scenario, { strategy: 'exhaustive', bound: 2 });
 *     while (search.step());
 *     search.findings[0]?.token
 *
 * @throws SimError `bad-argument` for options out of their range
 */
export function explore(scenario: Scenario, options: SearchOptions = {}): Search {
  check(options);
  const { strategy = 'mix' } = options;
  return strategy === 'exhaustive'
    ? new ExhaustiveSearch(scenario, options)
    : new RandomSearch(scenario, options, strategy);
}

function check(options: SearchOptions): void {
  const { seed, first, schedules, depth, bound, retries, faults } = options;
  const { mostPoints, livelockPoints } = options;
  whole('seed', seed, 0);
  whole('first', first, 0);
  whole('schedules', schedules, 0);
  whole('depth', depth, 1);
  whole('retries', retries, 1);
  if (bound !== 'iterative' && bound !== null) whole('bound', bound, 0);
  whole('mostPoints', mostPoints, 1);
  whole('livelockPoints', livelockPoints, 1);
  if (faults == null) return;
  whole('faults.most', faults.most, 1);
  if (faults.sites.length === 0) {
    throw new SimError('bad-argument', 'faults.sites is empty; expected at least one site');
  }
}

function whole(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return;
  throw new SimError(
    'bad-argument',
    `${name} is ${value}; expected a whole number from ${least} on`,
  );
}
