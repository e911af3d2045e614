/** An operation that has run, as every judge knows it, and what the simple ones must answer. */
import type { Era } from '../../src/core/era.ts';
import {
  BUFFER_STRIDE_PAGES,
  type Kind,
  type Model,
  type ModelPage,
  mayRead,
  type Prot,
} from './model.ts';

export interface Call {
  readonly name: string;
  readonly process: number;
  /** Its arguments, as the program language understands them. */
  readonly values: readonly unknown[];
  readonly result: { readonly ret?: string };
  readonly era: Era;
  readonly model: Model;
  /** Something is wrong. */
  found(message: string): void;
}

/** Page numbers [first, first + count). */
export interface Range {
  readonly first: number;
  readonly count: number;
}

/** `at`: where `buffer offset pages` stand among the arguments. */
export function rangeAt(values: readonly unknown[], at: number): Range {
  const [buffer, offset, count] = values.slice(at) as [number, number, number];
  return { first: buffer * BUFFER_STRIDE_PAGES + offset, count };
}

export function pagesOf({ model, process }: Call, range: Range): (ModelPage | undefined)[] {
  return model.range(process, range.first, range.count);
}

export function expectRet(call: Call, ...expected: readonly string[]): void {
  const { ret } = call.result;
  if (ret === undefined || !expected.includes(ret)) {
    call.found(`answered ${ret}, expected ${expected.join(' or ')}`);
  }
}

/** Calls that walk the mappings of a range: EINVAL where they meet one that may not be read. */
export function checkWalk(call: Call, range: Range, other: readonly string[]): void {
  const known = call.name !== 'migrate_to_sys' || call.era.deviceCoherent;
  const whole = known && pagesOf(call, range).every(mayRead);
  expectRet(call, ...(whole ? ['0', ...other] : ['EINVAL']));
}

/** What changes mappings always works, or says which part of it did not. */
export const MAPPING_HANDLERS: Readonly<Record<string, (call: Call, range: Range) => void>> = {
  mmap: (call) => {
    const [buffer, pages, kind, prot] = call.values as [number, number, Kind, Prot];
    expectRet(call, '0');
    call.model.mmap(call.process, buffer * BUFFER_STRIDE_PAGES, pages, kind, prot);
  },
  munmap: (call, { first, count }) => {
    expectRet(call, '0');
    call.model.munmap(call.process, first, count);
  },
  dontneed: (call, { first, count }) => {
    const complete = call.model.dontneed(call.process, first, count);
    expectRet(call, complete ? '0' : 'ENOMEM');
  },
  mprotect: (call, { first, count }) => {
    const complete = call.model.mprotect(call.process, first, count, call.values[3] as Prot);
    expectRet(call, complete ? '0' : 'ENOMEM');
  },
  exit: (call) => {
    expectRet(call, '0');
    call.model.exit(call.process);
  },
};
