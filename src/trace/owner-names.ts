/** A name of its own for each owner. */
import type { Owner } from '../core/pagemap/pagemap.ts';
import { SYSTEM } from './recorded.ts';

export class OwnerNames {
  readonly #names: Map<Owner, string> = new Map();
  readonly #taken: Set<string> = new Set([SYSTEM]);

  /** The owner's name, or `name#2`, `name#3`, … where another owner has it. */
  of(owner: Owner): string {
    const known = this.#names.get(owner);
    if (known !== undefined) return known;
    let name = owner.name;
    for (let i = 2; this.#taken.has(name); i++) name = `${owner.name}#${i}`;
    this.#taken.add(name);
    this.#names.set(owner, name);
    return name;
  }

  has(owner: Owner): boolean {
    return this.#names.has(owner);
  }

  /** All names, in the order in which they were given. */
  get all(): readonly string[] {
    return [...this.#names.values()];
  }
}
