/**
 * Tokens: a schedule in one short word, to be sent in a message and run again.
 *
 *     h1-3f9a-f11.1-o2.5-12.1-30.2-L44
 *
 * In this order: version; check of the scenario's identity; what may fail on purpose (bits of the
 * sites, and how many); `s` if an unfair run counts as a failure; operations left out; deviations
 * as position and alternative; where the lockstep tail begins. What does not apply is left out.
 */
import { SimError } from '../core/errors.ts';
import { FAULT_SITES } from '../core/fault-plan.ts';
import { StateHash } from '../core/state-hash.ts';
import type { Deviation, FaultOptions, Scenario, Schedule } from './types.ts';

const VERSION = 'h1';
const NUMBER = /^(?:0|[1-9][0-9]{0,8})$/;

/** The run that happens without a search. */
export const ORDINARY: Schedule = Object.freeze<Schedule>({
  deviations: [],
  lockstep: null,
  omitted: [],
  faults: null,
  starvation: false,
});

/** The schedule of `scenario` as a word of letters, digits, dots and dashes. */
export function scheduleToken(scenario: Scenario, schedule: Schedule): string {
  const { deviations, lockstep, omitted, faults, starvation } = schedule;
  const parts = [VERSION, identityCheck(scenario)];
  if (faults !== null) parts.push(`f${siteBits(faults).toString(16)}.${faults.most ?? 1}`);
  if (starvation) parts.push('s');
  if (omitted.length > 0) parts.push(`o${omitted.join('.')}`);
  for (const { position, alternative } of deviations) parts.push(`${position}.${alternative}`);
  if (lockstep !== null) parts.push(`L${lockstep}`);
  return parts.join('-');
}

/**
 * The schedule that `token` stands for.
 *
 * @throws SimError `bad-argument` if it is no token, of another version, or of another scenario
 */
export function parseToken(scenario: Scenario, token: string): Schedule {
  const [version, check, ...parts] = token.split('-');
  if (version === undefined || !/^h[0-9]+$/.test(version) || check === undefined) {
    throw refused(token, 'it is not a schedule token, such as h1-3f9a-12.1');
  }
  if (version !== VERSION) {
    throw refused(token, `it is of version ${version}; this version reads ${VERSION}`);
  }
  const expected = identityCheck(scenario);
  if (!/^[0-9a-f]{4}$/.test(check))
    throw refused(token, `"${check}" is not four digits of a check`);
  if (check !== expected) {
    const why = `it belongs to another program or machine than ${scenario.name}`;
    throw refused(token, `${why}: its check is ${check}, expected ${expected}`);
  }
  return new Parts(token, parts).schedule(scenario.operations);
}

/** The parts after version and check, taken off in their order. */
class Parts {
  readonly #token: string;
  readonly #parts: readonly string[];
  #next = 0;

  constructor(token: string, parts: readonly string[]) {
    this.#token = token;
    this.#parts = parts;
  }

  schedule(operations: number): Schedule {
    const faults = this.#faults();
    const starvation = this.#take(/^s$/) !== null;
    const omitted = this.#take(/^o/)?.slice(1).split('.').map(this.#number) ?? [];
    this.#ascending(omitted, 'operations left out');
    if (omitted.some((index) => index >= operations)) {
      throw refused(this.#token, `there are ${operations} operations, counted from 0`);
    }
    const deviations: Deviation[] = [];
    for (let part = this.#take(/^[0-9]/); part !== null; part = this.#take(/^[0-9]/)) {
      deviations.push(this.#deviation(part));
    }
    this.#ascending(
      deviations.map(({ position }) => position),
      'positions',
    );
    const tail = this.#take(/^L/);
    const lockstep = tail === null ? null : this.#number(tail.slice(1));
    const last = deviations.at(-1)?.position ?? -1;
    if (lockstep !== null && lockstep <= last) {
      throw refused(this.#token, `position ${last} lies in the lockstep tail from ${lockstep}`);
    }
    const rest = this.#parts[this.#next];
    if (rest !== undefined) throw refused(this.#token, `"${rest}" does not belong there`);
    return { deviations, lockstep, omitted, faults, starvation };
  }

  #take(pattern: RegExp): string | null {
    const part = this.#parts[this.#next];
    if (part === undefined || !pattern.test(part)) return null;
    this.#next++;
    return part;
  }

  #faults(): FaultOptions | null {
    const part = this.#take(/^f/);
    if (part === null) return null;
    const [, bits, most] = /^f([0-9a-f]{1,4})\.([0-9]+)$/.exec(part) ?? [];
    const mask = Number.parseInt(bits ?? '', 16);
    if (most === undefined || !(mask > 0) || mask >= 2 ** FAULT_SITES.length) {
      throw refused(this.#token, `"${part}" does not say what may fail`);
    }
    const sites = FAULT_SITES.filter((_, i) => (mask & (1 << i)) !== 0).map(({ site }) => site);
    const count = this.#number(most);
    if (count === 0) throw refused(this.#token, `"${part}" does not say what may fail`);
    return { sites, most: count };
  }

  #deviation(part: string): Deviation {
    const [position, alternative, ...more] = part.split('.');
    if (alternative === undefined || more.length > 0) {
      throw refused(this.#token, `"${part}" is no position and alternative, such as 12.1`);
    }
    const deviation = {
      position: this.#number(position!),
      alternative: this.#number(alternative),
    };
    if (deviation.alternative === 0) {
      throw refused(this.#token, `"${part}": alternative 0 is what happens anyway`);
    }
    return deviation;
  }

  readonly #number = (text: string): number => {
    if (!NUMBER.test(text)) throw refused(this.#token, `"${text}" is not a whole number`);
    return Number(text);
  };

  #ascending(numbers: readonly number[], what: string): void {
    if (numbers.some((number, i) => i > 0 && number <= numbers[i - 1]!)) {
      throw refused(this.#token, `its ${what} do not ascend`);
    }
  }
}

function siteBits({ sites }: FaultOptions): number {
  let bits = 0;
  FAULT_SITES.forEach(({ site }, i) => {
    if (sites.includes(site)) bits |= 1 << i;
  });
  return bits;
}

/** Four hexadecimal digits: enough to notice the wrong program. */
function identityCheck(scenario: Scenario): string {
  const hash = new StateHash();
  hash.addText(scenario.identity);
  return (hash.value % 0x1_0000).toString(16).padStart(4, '0');
}

function refused(token: string, why: string): SimError {
  return new SimError('bad-argument', `the schedule "${token}" cannot be used: ${why}`, { token });
}
