/** Rules of an era that a header sets otherwise: `machine era v6.1 rules faultPage=false`. */
import { type Era, type EraName, type EraRuleKey, eraNamed } from '../core/era.ts';
import { orList } from './args.ts';
import type { MachineSpec, RuleChanges } from './types.ts';

/** Rules that are more than yes or no. */
type ChoiceKey = {
  [K in EraRuleKey]: Era[K] extends boolean ? never : K;
}[EraRuleKey];

const CHOICES: { readonly [K in ChoiceKey]: readonly Era[K][] } & {
  readonly dpFaultLock: readonly ('none' | 'trylock' | 'wait')[];
} = {
  selection: ['any-owner', 'src-owner', 'flags'],
  freeDevicePageRefs: [0, 1],
  dpFaultLock: ['none', 'trylock', 'wait'],
};

const tables: WeakMap<RuleChanges, Map<EraName, Era>> = new WeakMap();

/** The era of a machine, with the rules that its header changes; `era` instead of the header's. */
export function eraOf({ era: own, rules }: MachineSpec, era: EraName = own): Era {
  const table = eraNamed(era);
  if (rules === undefined) return table;
  let known = tables.get(rules);
  if (known === undefined) {
    known = new Map();
    tables.set(rules, known);
  }
  let changed = known.get(era);
  if (changed === undefined) {
    changed = Object.freeze({ ...table, ...rules });
    known.set(era, changed);
  }
  return changed;
}

export type RulesFailure = (expected: string, found: string) => never;

/** Reads `KEY=VALUE,KEY=VALUE`. Throws by way of `fail` at the first that is wrong. */
export function parseRules(word: string, fail: RulesFailure): RuleChanges {
  const changes: Partial<Record<EraRuleKey, Era[EraRuleKey]>> = {};
  for (const part of word.split(',')) {
    const [key, value, ...others] = part.split('=');
    if (value === undefined || others.length > 0) fail('rules: RULE=VALUE,RULE=VALUE,…', part);
    const rule = RULES.find((one) => one === key);
    if (rule === undefined) return fail(`a rule: ${orList(RULES)}`, key!);
    if (rule in changes) fail(`${rule} only once`, part);
    const choices = choicesOf(rule);
    const choice = choices.find((one) => String(one) === value);
    if (choice === undefined) fail(`${rule}: ${orList(choices.map(String))}`, value);
    changes[rule] = choice;
  }
  return Object.freeze(changes) as RuleChanges;
}

/** Every rule of an era table. */
const RULES: readonly EraRuleKey[] = Object.keys(eraNamed('v6.1')).filter(
  (key): key is EraRuleKey => key !== 'name',
);

function choicesOf(rule: EraRuleKey): readonly Era[EraRuleKey][] {
  return rule in CHOICES ? CHOICES[rule as ChoiceKey] : [true, false];
}
