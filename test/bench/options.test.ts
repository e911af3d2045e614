import { describe, expect, it } from 'vitest';
import { readOptions, UsageError } from '../../bench/harness/options.ts';
import { choose } from '../../bench/harness/select.ts';
import type { Measurement } from '../../bench/harness/types.ts';
import { SUITE } from '../../bench/suite/index.ts';

describe('flags', () => {
  it('have defaults', () => {
    expect(readOptions([])).toEqual({
      rounds: 7,
      only: [],
      json: false,
      markdown: false,
      quick: false,
      list: false,
      compare: null,
      from: null,
    });
  });

  it('are read, --only as often as it is given', () => {
    const argv = ['--only', 'faults', '--only=bulk', '--rounds', '12', '--json', '--compare', 'a'];
    expect(readOptions(argv)).toMatchObject({
      only: ['faults', 'bulk'],
      rounds: 12,
      json: true,
      compare: 'a',
    });
    // One list for all calls would still hold the names.
    expect(readOptions([])?.only).toEqual([]);
  });

  it('ask for help', () => {
    expect(readOptions(['--help', '--rounds', 'x'])).toBeNull();
  });

  it.each([
    [['--rounds', '0'], /--rounds 0/],
    [['--rounds', '100'], /--rounds 100/],
    [['--rounds', '1.5'], /--rounds 1\.5/],
    [['--rounds', ''], /--rounds/],
    [['--rounds'], /--rounds/],
    [['--fast'], /--fast/],
    [['faults'], /faults/],
    [['--only', ''], /--only/],
    [['--json', '--markdown'], /--json and --markdown/],
    [['--quick=yes'], /--quick/],
  ])('%j are refused', (argv, message) => {
    expect(() => readOptions(argv)).toThrow(UsageError);
    expect(() => readOptions(argv)).toThrow(message);
  });
});

describe('--only', () => {
  const spec = { unit: '/s', better: 'more', targets: [], note: '' } as const;
  const measurement = (name: string, ...figures: string[]): Measurement => ({
    name,
    section: '1',
    figures: figures.map((one) => ({ ...spec, name: one })),
    run: () => [],
  });
  const suite = [measurement('faults', 'there', 'home'), measurement('bulk', 'home in bulk')];
  const chosen = (...parts: string[]) =>
    choose(suite, parts).map((one) => [one.measurement.name, ...one.names]);

  it('may be left out', () => {
    expect(chosen()).toEqual([
      ['faults', 'there', 'home'],
      ['bulk', 'home in bulk'],
    ]);
  });

  it('chooses a measurement, or one figure of it', () => {
    expect(chosen('fault')).toEqual([['faults', 'there', 'home']]);
    expect(chosen('There')).toEqual([['faults', 'there']]);
    expect(chosen('home')).toEqual([
      ['faults', 'home'],
      ['bulk', 'home in bulk'],
    ]);
    expect(chosen('there', 'bulk')).toEqual([
      ['faults', 'there'],
      ['bulk', 'home in bulk'],
    ]);
    expect(chosen('faults', 'there')).toEqual([['faults', 'there', 'home']]);
  });

  it('names what there is where there is no such name', () => {
    expect(() => chosen('there', 'speed')).toThrow(/--only speed: no such name.*faults, bulk/);
  });
});

describe('the suite', () => {
  const figures = SUITE.flatMap((one) => one.figures);

  it('tells everything apart by its name', () => {
    const names = [...SUITE.map(({ name }) => name), ...figures.map(({ name }) => name)];
    expect(new Set(names).size).toBe(names.length);
  });

  it('has something about each target', () => {
    const sections = new Set(SUITE.map(({ section }) => section));
    for (const target of '12345678') expect(sections).toContain(target);
  });

  it('fits into its table', () => {
    for (const { name } of figures) expect(name.length, name).toBeLessThanOrEqual(52);
  });
});
