// Tokens say all that a run depends on, and refuse what is not theirs.

import { describe, expect, it } from 'vitest';
import { replay } from '../../src/explore/run-once.ts';
import { ORDINARY, parseToken, scheduleToken } from '../../src/explore/token.ts';
import type { Schedule } from '../../src/explore/types.ts';
import { EMBRACE, lostUpdate, toyScenario } from './toy.ts';

const scenario = toyScenario(EMBRACE);
const check = scheduleToken(scenario, ORDINARY).slice('h1-'.length);

describe('a token', () => {
  it.each<[Schedule, string]>([
    [ORDINARY, ''],
    [{ ...ORDINARY, deviations: [{ position: 12, alternative: 1 }] }, '-12.1'],
    [{ ...ORDINARY, lockstep: 44 }, '-L44'],
    [{ ...ORDINARY, omitted: [2, 5] }, '-o2.5'],
    [{ ...ORDINARY, faults: { sites: ['ram', 'copy'], most: 2 }, starvation: true }, '-f9.2-s'],
    [
      {
        deviations: [
          { position: 0, alternative: 2 },
          { position: 30, alternative: 1 },
        ],
        lockstep: 31,
        omitted: [0, 7],
        faults: { sites: ['fault_buffer'], most: 1 },
        starvation: true,
      },
      '-f100.1-s-o0.7-0.2-30.1-L31',
    ],
  ])('names everything: %o', (schedule, parts) => {
    const token = `h1-${check}${parts}`;
    expect(scheduleToken(scenario, schedule)).toBe(token);
    expect(token).toMatch(/^[A-Za-z0-9.-]+$/);
    expect(parseToken(scenario, token)).toEqual(schedule);
  });

  it.each([
    ['', 'it is not a schedule token'],
    ['hello', 'it is not a schedule token'],
    ['h1', 'it is not a schedule token'],
    ['h2-0000', 'it is of version h2; this version reads h1'],
    ['h1-xyz', '"xyz" is not four digits of a check'],
    ['h1-0000', 'it belongs to another program or machine than deadly embrace'],
    [`h1-${check}-`, '"" does not belong there'],
    [`h1-${check}-7`, '"7" is no position and alternative'],
    [`h1-${check}-7.1.2`, '"7.1.2" is no position and alternative'],
    [`h1-${check}-7.0`, 'alternative 0 is what happens anyway'],
    [`h1-${check}-07.1`, '"07" is not a whole number'],
    [`h1-${check}-7.1-7.1`, 'its positions do not ascend'],
    [`h1-${check}-9.1-7.1`, 'its positions do not ascend'],
    [`h1-${check}-7.1-L7`, 'position 7 lies in the lockstep tail from 7'],
    [`h1-${check}-L`, '"" is not a whole number'],
    [`h1-${check}-L9-10.1`, '"10.1" does not belong there'],
    [`h1-${check}-o`, '"" is not a whole number'],
    [`h1-${check}-o3.3`, 'its operations left out do not ascend'],
    [`h1-${check}-o8`, 'there are 8 operations, counted from 0'],
    [`h1-${check}-f0.1`, '"f0.1" does not say what may fail'],
    [`h1-${check}-f200.1`, '"f200.1" does not say what may fail'],
    [`h1-${check}-f1`, '"f1" does not say what may fail'],
    [`h1-${check}-f1.0`, '"f1.0" does not say what may fail'],
    [`h1-${check}-x`, '"x" does not belong there'],
  ])('that is none is refused: %s', (token, message) => {
    expect(() => parseToken(scenario, token)).toThrow(message);
  });

  it('of another scenario is refused', () => {
    const token = scheduleToken(toyScenario(lostUpdate()), ORDINARY);
    expect(() => parseToken(scenario, token)).toThrow(/another program or machine/);
  });
});

describe('a schedule that does not fit', () => {
  it('is refused where a decision is never reached', () => {
    const schedule = parseToken(scenario, `h1-${check}-500.1`);
    expect(() => replay(scenario, schedule)).toThrow(
      /does not fit deadly embrace: the run ends after \d+ decisions, before decision 500$/,
    );
  });

  it('is refused where there is no such alternative', () => {
    const schedule = parseToken(scenario, `h1-${check}-1.5`);
    expect(() => replay(scenario, schedule)).toThrow(
      'decision 1 has 2 alternatives, and the schedule wants number 5',
    );
  });
});
