/** Numbers for the texts and names that records hold. */
import type { PageHome } from '../core/events/types.ts';
import type { Owner } from '../core/pagemap/pagemap.ts';
import { NAME_FIRST, NAME_NULL, NAME_UNDEFINED } from './columns.ts';
import type { OwnerNames } from './owner-names.ts';

/** Strings by number, each once. */
export class TextNumbers {
  readonly list: string[] = [];
  readonly #numbers: Map<string, number> = new Map();

  of(text: string): number {
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.list.push(text) - 1;
      this.#numbers.set(text, number);
    }
    return number;
  }
}

/** More are asked of the map, which then takes less time. */
const FEW = 8;

/** Of a field that mostly has the same few texts: they are found without a map. */
export class FewTexts {
  readonly #all: TextNumbers;
  readonly #texts: string[] = [];
  readonly #numbers: number[] = [];

  constructor(all: TextNumbers) {
    this.#all = all;
  }

  of(text: string): number {
    const texts = this.#texts;
    for (let i = 0; i < texts.length; i++) if (texts[i] === text) return this.#numbers[i]!;
    const number = this.#all.of(text);
    if (texts.length < FEW) {
      texts.push(text);
      this.#numbers.push(number);
    }
    return number;
  }
}

/** Owners, which are compared by identity, RAM, and who is nobody, as a `name` column has them. */
export class NameNumbers {
  readonly #texts: TextNumbers;
  readonly #names: OwnerNames;
  readonly #numbers: Map<PageHome | undefined, number>;
  /** The two that were asked for last: pages go to and fro. */
  #last: PageHome | undefined = null;
  #lastNumber: number = NAME_NULL;
  #other: PageHome | undefined = undefined;
  #otherNumber: number = NAME_UNDEFINED;

  constructor(texts: TextNumbers, names: OwnerNames) {
    this.#texts = texts;
    this.#names = names;
    this.#numbers = new Map<PageHome | undefined, number>([
      [null, NAME_NULL],
      [undefined, NAME_UNDEFINED],
    ]);
  }

  of(home: PageHome | undefined): number {
    if (home === this.#last) return this.#lastNumber;
    if (home === this.#other) return this.#otherNumber;
    const number = this.#numbers.get(home) ?? this.#add(home as Owner | 'system');
    this.#other = this.#last;
    this.#otherNumber = this.#lastNumber;
    this.#last = home;
    this.#lastNumber = number;
    return number;
  }

  #add(home: Owner | 'system'): number {
    const name = home === 'system' ? home : this.#names.of(home);
    const number = this.#texts.of(name) + NAME_FIRST;
    this.#numbers.set(home, number);
    return number;
  }
}
