/** Who makes which access: how the threads and addresses of a program become CPUs and devices. */
import { SimError } from '../../core/errors.ts';
import type { Vpn } from '../../core/units.ts';

/** Agent 0 is the CPU, agent 1 + i the i-th device. */
export interface AssignRule {
  /** As it would be written, with what was left out. */
  readonly text: string;
  /**
   * @param before accesses of the program before this one
   */
  agentOf(vpn: Vpn, thread: number, before: number): number;
}

/** The forms, for people. */
export const RULE_FORMS =
  'thread, thread:0=cpu,1=gpu0,*=gpu1, range, range:64K, range:0x1000-0x9000=gpu0,*=cpu, phase or phase:N';

const RANGE_BYTES = '64K';
const PHASE_ACCESSES = 100_000;
const SIZES: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['K', 1024],
  ['M', 1024 ** 2],
  ['G', 1024 ** 3],
]);

/**
 * Reads a rule. Agents are the CPU and `devices` devices.
 *
 * @throws SimError `bad-argument` that says what was expected
 */
export function parseRule(text: string, devices: number, pageSize: number): AssignRule {
  const at = text.indexOf(':');
  const kind = at < 0 ? text : text.slice(0, at);
  const rest = at < 0 ? null : text.slice(at + 1);
  const agents = devices + 1;
  switch (kind) {
    case 'thread':
      return rest === null ? byTurn(agents) : byThread(text, rest, devices);
    case 'range':
      return rest?.includes('=') === true
        ? byRange(text, rest, devices, pageSize)
        : byPiece(rest ?? RANGE_BYTES, text, agents, pageSize);
    case 'phase':
      return byPhase(rest ?? String(PHASE_ACCESSES), text, agents);
    default:
      throw bad(text, RULE_FORMS);
  }
}

/** Bytes of "4096", "64K", "2M" or "1G"; NaN for anything else. */
export function parseSize(text: string): number {
  const found = /^(\d+)([KMG]?)$/.exec(text);
  return found === null ? Number.NaN : Number(found[1]) * SIZES.get(found[2]!)!;
}

function byTurn(agents: number): AssignRule {
  return { text: 'thread', agentOf: (_vpn, thread) => thread % agents };
}

function byThread(text: string, rest: string, devices: number): AssignRule {
  const agents: number[] = [];
  let others = 0;
  for (const part of rest.split(',')) {
    const found = /^(\d+|\*)=(\w+)$/.exec(part);
    if (found === null) throw bad(text, 'thread:0=cpu,1=gpu0,*=gpu1');
    const agent = agentNamed(found[2]!, devices, text);
    if (found[1] === '*') others = agent;
    else agents[Number(found[1])] = agent;
  }
  return { text, agentOf: (_vpn, thread) => agents[thread] ?? others };
}

function byPiece(size: string, text: string, agents: number, pageSize: number): AssignRule {
  const pages = parseSize(size) / pageSize;
  if (!Number.isInteger(pages) || pages < 1)
    throw bad(text, `range:BYTES, whole pages of ${pageSize}`);
  return { text: `range:${size}`, agentOf: (vpn) => Math.floor(vpn / pages) % agents };
}

function byRange(text: string, rest: string, devices: number, pageSize: number): AssignRule {
  const ranges: { readonly first: Vpn; readonly end: Vpn; readonly agent: number }[] = [];
  let others = 0;
  for (const part of rest.split(',')) {
    const found = /^(?:(0x[0-9a-f]+)-(0x[0-9a-f]+)|\*)=(\w+)$/.exec(part);
    if (found === null) throw bad(text, 'range:0x1000-0x9000=gpu0,*=cpu');
    const agent = agentNamed(found[3]!, devices, text);
    if (found[1] === undefined) others = agent;
    else {
      const first = Math.floor(Number(found[1]) / pageSize);
      const end = Math.ceil(Number(found[2]) / pageSize);
      if (Number(found[2]) <= Number(found[1])) throw bad(text, 'ranges that end after they begin');
      ranges.push({ first, end, agent });
    }
  }
  return {
    text,
    agentOf: (vpn) => {
      for (const { first, end, agent } of ranges) if (vpn >= first && vpn < end) return agent;
      return others;
    },
  };
}

function byPhase(length: string, text: string, agents: number): AssignRule {
  const accesses = /^\d+$/.test(length) ? Number(length) : 0;
  if (accesses < 1) throw bad(text, 'phase:N with N accesses from 1 on');
  return {
    text: `phase:${accesses}`,
    agentOf: (_vpn, _thread, before) => Math.floor(before / accesses) % agents,
  };
}

function agentNamed(name: string, devices: number, text: string): number {
  if (name === 'cpu') return 0;
  const number = /^gpu(\d+)$/.exec(name)?.[1];
  if (number !== undefined && Number(number) < devices) return Number(number) + 1;
  const last = devices - 1;
  throw bad(text, `cpu or gpu0 to gpu${last}, not ${JSON.stringify(name)}`);
}

function bad(text: string, expected: string): SimError {
  return new SimError('bad-argument', `expected ${expected}; found ${JSON.stringify(text)}`);
}
