// docs/programs.md: its programs run, print what the page shows, and every operation stands there.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { FAULT_SITES } from '../../src/core/fault-plan.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { usage } from '../../src/program/index.ts';
import { hmmlab } from './cli.ts';

const PATH = fileURLToPath(new URL('../../docs/programs.md', import.meta.url));
const PAGE = readFileSync(PATH, 'utf8');

const BLOCKS = [...PAGE.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, text]) => ({
  language: language!,
  text: text!,
}));

/** Programs of the page with the output that is shown after them, if any. */
const EXAMPLES = BLOCKS.flatMap(({ language, text }, i) => {
  const next = BLOCKS[i + 1];
  const output = next?.language === 'text' ? next.text : undefined;
  return language === 'hmmlab' ? [{ program: text, output }] : [];
});

describe('docs/programs.md', () => {
  it('has programs, one with its output', () => {
    expect(EXAMPLES.length).toBeGreaterThanOrEqual(2);
    expect(EXAMPLES.filter(({ output }) => output !== undefined).length).toBe(1);
  });

  it.each(EXAMPLES)('shows a program that runs', ({ program, output }) => {
    const done = hmmlab(['run', '--owners', '-'], program);
    expect(done.stderr).toBe('');
    expect(done.status).toBe(0);
    if (output !== undefined) expect(done.stdout).toBe(output);
  });

  it.each([...LANGUAGE.operations.values()])('describes $name', (operation) => {
    expect(PAGE).toContain(`| \`${usage(operation)}\` |`);
  });

  it.each([...LANGUAGE.drivers.values()])('describes the device $name', ({ name, options }) => {
    const row = PAGE.split('\n').find((line) => line.startsWith(`| \`device ${name}`));
    for (const option of options) {
      const words = option.kind === 'choice' ? option.choices : [option.name];
      for (const word of words) expect(row).toContain(word);
      if (option.kind !== 'flags') continue;
      for (const flag of option.choices) expect(PAGE).toContain(`| \`${flag}\` | ${name} |`);
    }
  });

  it.each(FAULT_SITES)('describes the site $site', ({ site, summary }) => {
    expect(PAGE).toContain(`| \`${site}\` | ${summary} |`);
  });
});
