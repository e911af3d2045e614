/** The header of a program text: the machine it asks for. */
import { DEFAULT_ERA, ERAS, type EraName } from '../core/era.ts';
import { SimError } from '../core/errors.ts';
import { GiB, KiB, MiB, PAGE_SIZE } from '../core/units.ts';
import { orList, parseInteger, parseList } from './args.ts';
import { eraReaches, type Language } from './language.ts';
import { ProgramError, quoted } from './program-error.ts';
import { parseRules } from './rules.ts';
import { buildMachine } from './run.ts';
import type {
  DeviceSpec,
  DriverFactory,
  MachineSpec,
  OptionSpec,
  OptionValue,
  RuleChanges,
} from './types.ts';

const RAM_MIN: number = MiB;
const RAM_MAX: number = 64 * GiB;
const RAM_DEFAULT: number = 2 * GiB;
const DEVICES_MAX = 32;
const PAGE_SIZES: readonly number[] = [4 * KiB, 8 * KiB, 16 * KiB, 32 * KiB, 64 * KiB];

const UNITS: ReadonlyMap<string, number> = new Map([
  ['KiB', KiB],
  ['MiB', MiB],
  ['GiB', GiB],
]);

/** Words of a line, taken one after another. */
class Words {
  readonly #words: readonly string[];
  #at = 0;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  next(): string | undefined {
    return this.#words[this.#at++];
  }
}

/** A device line. */
interface GivenDevice {
  readonly spec: DeviceSpec;
  readonly line: number;
  readonly words: readonly string[];
}

export class Header {
  readonly #file: string;
  readonly #language: Language;
  #machineLine = 0;
  #era: EraName = DEFAULT_ERA;
  #rules: RuleChanges | null = null;
  #ramBytes = RAM_DEFAULT;
  #pageSize = PAGE_SIZE;
  readonly #devices: GivenDevice[] = [];

  /** `era`, if given, stands in the place of the era that the text names. */
  constructor(file: string, language: Language) {
    this.#file = file;
    this.#language = language;
  }

  /** Takes a line `machine …` or `device …`. */
  add(words: readonly string[], line: number): void {
    if (words[0] === 'machine') this.#addMachine(words.slice(1), line);
    else this.#addDevice(words.slice(1), line);
  }

  /** `era` stands in the place of what the header says. */
  machine(era?: EraName): MachineSpec {
    const chosen = era ?? this.#era;
    const devices =
      this.#devices.length > 0 ? this.#checkedDevices(chosen) : this.#defaultDevices(chosen);
    const { ramBytes, pageSize } = this.#sizes();
    const rules = this.#rules === null ? {} : { rules: this.#rules };
    const spec = { era: chosen, ...rules, ramBytes, pageSize, devices };
    if (this.#rules !== null) this.#tryRules(spec);
    return spec;
  }

  #fail(line: number, expected: string, found: string | undefined): never {
    const what = found === undefined ? 'the end of the line' : quoted(found);
    throw new ProgramError(this.#file, line, expected, what);
  }

  #addMachine(rest: readonly string[], line: number): void {
    if (this.#machineLine !== 0) {
      const expected = `one machine line, and line ${this.#machineLine} is one`;
      this.#fail(line, expected, ['machine', ...rest].join(' '));
    }
    this.#machineLine = line;
    const keys = orList(['era', 'rules', 'ram', 'page']);
    if (rest.length === 0) this.#fail(line, keys, undefined);
    const words = new Words(rest);
    const seen = new Set<string>();
    for (let key = words.next(); key !== undefined; key = words.next()) {
      if (seen.has(key)) this.#fail(line, `${key} only once`, key);
      seen.add(key);
      if (key === 'era') this.#era = this.#parseEra(words.next(), line);
      else if (key === 'rules') this.#rules = this.#parseRules(words.next(), line);
      else if (key === 'ram') this.#ramBytes = this.#parseRam(words.next(), line);
      else if (key === 'page') this.#pageSize = this.#parsePage(words.next(), line);
      else this.#fail(line, keys, key);
    }
  }

  #parseEra(word: string | undefined, line: number): EraName {
    const era = ERAS.find(({ name }) => name === word);
    if (era !== undefined) return era.name;
    return this.#fail(line, `era: ${orList(ERAS.map(({ name }) => name))}`, word);
  }

  #parseRules(word: string | undefined, line: number): RuleChanges {
    const fail = (expected: string, found: string | undefined): never =>
      this.#fail(line, expected, found);
    if (word === undefined) return fail('rules: RULE=VALUE,RULE=VALUE,…', word);
    return parseRules(word, fail);
  }

  #parseRam(word: string | undefined, line: number): number {
    const spec = { name: 'ram', min: RAM_MIN, max: RAM_MAX, multipleOf: PAGE_SIZE };
    return parseSize(word, spec) ?? this.#fail(line, expectedSize(spec), word);
  }

  #parsePage(word: string | undefined, line: number): number {
    const size = PAGE_SIZES.find((bytes) => sizeText(bytes) === word);
    return size ?? this.#fail(line, `page: ${orList(PAGE_SIZES.map(sizeText))}`, word);
  }

  /** Sizes are whole pages, whatever the order of the lines. */
  #sizes(): { readonly ramBytes: number; readonly pageSize: number } {
    const pageSize = this.#pageSize;
    for (const { spec, line } of this.#devices) {
      for (const option of this.#language.drivers.get(spec.driver)!.options) {
        if (option.kind !== 'size') continue;
        const bytes = spec.options[option.name] as number;
        if (bytes % pageSize === 0) continue;
        const expected = `${option.name}: whole pages of ${sizeText(pageSize)}`;
        this.#fail(line, expected, sizeText(bytes));
      }
    }
    if (this.#ramBytes % pageSize !== 0) {
      const expected = `ram: whole pages of ${sizeText(pageSize)}`;
      this.#fail(this.#machineLine, expected, sizeText(this.#ramBytes));
    }
    return { ramBytes: this.#ramBytes, pageSize };
  }

  /** Rules that exclude one of the devices show when the machine is built. */
  #tryRules(spec: MachineSpec): void {
    try {
      buildMachine(spec, this.#language);
    } catch (error) {
      if (!(error instanceof SimError)) throw error;
      const expected = 'rules that its devices can live with';
      throw new ProgramError(this.#file, this.#machineLine, expected, error.message);
    }
  }

  #addDevice(rest: readonly string[], line: number): void {
    const spec = this.#parseDevice(rest, line);
    const factory = this.#language.drivers.get(spec.driver)!;
    const same = this.#devices.filter((one) => one.spec.driver === spec.driver);
    if (factory.max !== undefined && same.length >= factory.max) {
      this.#fail(line, `at most ${factory.max} ${spec.driver} in a machine`, rest.join(' '));
    }
    if (this.#devices.length >= DEVICES_MAX) {
      this.#fail(line, `at most ${DEVICES_MAX} devices in a machine`, rest.join(' '));
    }
    this.#devices.push({ spec, line, words: rest });
  }

  #parseDevice(rest: readonly string[], line: number): DeviceSpec {
    const words = new Words(rest);
    const name = words.next();
    const factory = name === undefined ? undefined : this.#language.drivers.get(name);
    if (factory === undefined) {
      return this.#fail(line, `a driver: ${orList([...this.#language.drivers.keys()])}`, name);
    }
    const options: Record<string, OptionValue> = {};
    for (let word = words.next(); word !== undefined; word = words.next()) {
      const option = optionFor(factory.options, word);
      if (option === undefined) this.#fail(line, expectedOptions(factory), word);
      if (option.name in options) this.#fail(line, `${option.name} only once`, word);
      options[option.name] =
        option.kind === 'choice' ? word : this.#parseOption(option, words.next(), line);
    }
    for (const option of factory.options) {
      if (option.name in options) continue;
      options[option.name] =
        defaultOf(option) ??
        this.#fail(line, `${option.name}: ${expectedValue(option)}`, undefined);
    }
    const problem = factory.check?.(options) ?? null;
    if (problem !== null) {
      throw new ProgramError(this.#file, line, problem.expected, problem.found);
    }
    return { driver: factory.name, options };
  }

  #parseOption(option: OptionSpec, word: string | undefined, line: number): OptionValue {
    const value = word === undefined ? undefined : parseValue(option, word);
    return value ?? this.#fail(line, `${option.name}: ${expectedValue(option)}`, word);
  }

  #checkedDevices(era: EraName): DeviceSpec[] {
    for (const { spec, line, words } of this.#devices) {
      const since = this.#sinceOf(spec);
      if (since === null || eraReaches(era, since)) continue;
      const found = `${words.join(' ')}, since ${since}`;
      throw new ProgramError(this.#file, line, `a device of era ${era}`, found);
    }
    return this.#devices.map(({ spec }) => spec);
  }

  #defaultDevices(era: EraName): DeviceSpec[] {
    return this.#language.defaultDevices
      .map((text) => this.#parseDevice(text.split(' '), 0))
      .filter((spec) => {
        const since = this.#sinceOf(spec);
        return since === null || eraReaches(era, since);
      });
  }

  #sinceOf(spec: DeviceSpec): EraName | null {
    return this.#language.drivers.get(spec.driver)!.since?.(spec.options) ?? null;
  }
}

/** The option that a word belongs to: a choice by its value, others by their name. */
function optionFor(options: readonly OptionSpec[], word: string): OptionSpec | undefined {
  return options.find((option) =>
    option.kind === 'choice' ? option.choices.includes(word) : option.name === word,
  );
}

function expectedOptions(factory: DriverFactory): string {
  const words = factory.options.flatMap((option) =>
    option.kind === 'choice' ? option.choices : [option.name],
  );
  if (words.length === 0) return `nothing after ${factory.name}`;
  return `an option of ${factory.name}: ${orList(words)}`;
}

function parseValue(option: OptionSpec, word: string): OptionValue | undefined {
  switch (option.kind) {
    case 'size':
      return parseSize(word, option);
    case 'list':
      return parseList(word, option.min, option.max);
    case 'flags':
      return parseFlags(word, option.choices);
    case 'count': {
      const value = parseInteger(word);
      return value !== undefined && value >= option.min && value <= option.max ? value : undefined;
    }
    case 'choice':
      return word;
  }
}

function expectedValue(option: OptionSpec): string {
  switch (option.kind) {
    case 'choice':
      return orList(option.choices);
    case 'size':
      return expectedSize(option).replace(/^[^:]*: /, '');
    case 'count':
      return `a number from ${option.min} to ${option.max}`;
    case 'list':
      return `numbers from ${option.min} to ${option.max} with commas between them`;
    case 'flags':
      return `words with commas between them, each once, of ${option.choices.join(', ')}`;
  }
}

function parseFlags(word: string, choices: readonly string[]): readonly string[] | undefined {
  const flags = word.split(',');
  const known = flags.every((flag) => choices.includes(flag));
  return known && new Set(flags).size === flags.length ? flags : undefined;
}

/** What an option is where the header does not give it; undefined where it must. */
function defaultOf(option: OptionSpec): OptionValue | undefined {
  return option.kind === 'flags' ? [] : option.default;
}

interface SizeSpec {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly multipleOf: number;
}

function parseSize(word: string | undefined, spec: SizeSpec): number | undefined {
  const match = /^(\d{1,9})(KiB|MiB|GiB)$/.exec(word ?? '');
  if (match === null) return undefined;
  const bytes = Number(match[1]) * UNITS.get(match[2]!)!;
  const fits = bytes >= spec.min && bytes <= spec.max && bytes % spec.multipleOf === 0;
  return fits ? bytes : undefined;
}

function expectedSize(spec: SizeSpec): string {
  const { name, min, max, multipleOf } = spec;
  const range = `a size from ${sizeText(min)} to ${sizeText(max)}`;
  return `${name}: ${range}, a multiple of ${sizeText(multipleOf)}, such as ${sizeText(max)}`;
}

/** 268435456 as "256MiB". */
export function sizeText(bytes: number): string {
  const units = [...UNITS].reverse();
  const [name, unit] = units.find(([, size]) => bytes >= size && bytes % size === 0) ?? [
    'KiB',
    KiB,
  ];
  return `${bytes / unit}${name}`;
}
