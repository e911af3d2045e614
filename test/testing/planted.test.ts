// A driver with one mistake fails the suite, and the first message names the mistake.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type DriverSpec, driverSuite, runCases } from '../../src/testing/index.ts';
import { PLANTED, withPlanted } from './planted.ts';

const PAGE = readFileSync(new URL('../../docs/write-a-driver.md', import.meta.url), 'utf8');

/** "name of the case: message", as the command line prints it. */
function firstFault(spec: DriverSpec): string {
  for (const { name, outcome, message } of runCases(driverSuite(spec))) {
    if (outcome === 'failed') return `${name}: ${message}`;
  }
  return 'none';
}

describe('a driver that', () => {
  const told: string[] = [];

  it.each(PLANTED)('$mistake', async ({ change, told: expected }) => {
    await withPlanted({ change }, (spec) => {
      const fault = firstFault(spec);
      told.push(fault);
      expect(fault).toContain(expected);
    });
  });

  it('is told what docs/write-a-driver.md says', () => {
    const shown = [...PAGE.matchAll(/^ {4}FAILED {2}(.*) …$/gm)].map(([, line]) => line!);
    expect(shown.length).toBe(4);
    for (const line of shown) expect(told.some((fault) => fault.startsWith(line))).toBe(true);
  });
});
