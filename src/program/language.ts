/** The operations and drivers that programs of one application may use. */
import { ERAS, type EraName } from '../core/era.ts';
import { SimError } from '../core/errors.ts';
import { CORE_OPERATIONS } from './core-operations.ts';
import type { DriverFactory, Operation } from './types.ts';

/** Words that are no operations, and no names of results. */
export const KEYWORDS: ReadonlySet<string> = new Set([
  'program',
  'end',
  'machine',
  'device',
  'parallel',
  'thread',
  'join',
  'expect',
  'and',
  'or',
  'value',
  'owner',
]);

export interface LanguageOptions {
  readonly drivers: readonly DriverFactory[];
  /**
   * Device lines of the machine that a program gets whose header names no device. Devices that
   * are not of its era are left out.
   */
  readonly defaultDevices: readonly string[];
}

export class Language {
  readonly operations: ReadonlyMap<string, Operation>;
  /** The driver that an operation needs, by the operation's name; nothing for the core's. */
  readonly driverOf: ReadonlyMap<string, string>;
  readonly drivers: ReadonlyMap<string, DriverFactory>;
  readonly defaultDevices: readonly string[];

  constructor(options: LanguageOptions) {
    this.defaultDevices = options.defaultDevices;
    this.drivers = new Map(options.drivers.map((driver) => [driver.name, driver]));
    const operations: Map<string, Operation> = new Map();
    const all = [...CORE_OPERATIONS, ...options.drivers.flatMap((driver) => driver.operations)];
    for (const operation of all) {
      if (operations.has(operation.name)) {
        throw new SimError('bad-argument', `two operations are named ${operation.name}`);
      }
      if (KEYWORDS.has(operation.name)) {
        const message = `${operation.name} is a word of the language and can be no operation`;
        throw new SimError('bad-argument', message);
      }
      operations.set(operation.name, operation);
    }
    this.operations = operations;
    this.driverOf = new Map(
      options.drivers.flatMap((driver) => driver.operations.map(({ name }) => [name, driver.name])),
    );
  }
}

/** Does `era` have what came with `since`? */
export function eraReaches(era: EraName, since: EraName): boolean {
  const position = (name: EraName): number => ERAS.findIndex((one) => one.name === name);
  return position(era) >= position(since);
}
