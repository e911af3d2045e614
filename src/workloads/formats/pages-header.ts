/** The first line of a page stream: what it is and where it comes from. */
import { badTrace, quoted } from './decoder.ts';

/** Version of the format that is written; no other is read. */
export const PAGES_VERSION = 1;
/** No header is longer, in bytes. */
export const HEADER_BYTES_MAX: number = 64 * 1024;

/** What a page stream says of itself, beside its records. */
export interface PagesHeader {
  /** Bytes of a page: a power of two from 4096 to 65536. */
  readonly pageSize: number;
  /** What made the trace it was imported from: "lackey", "champsim", "kfd". */
  readonly source: string;
  /** The program that ran, for people; empty where nobody knows. */
  readonly program: string;
  /** Entries of the LRU filter, a thread; 0 where every access is there. */
  readonly filter: number;
}

/** What a header may hold before anybody looked. */
type Raw = { readonly [key in keyof PagesHeader | 'hmmlab' | 'version']?: unknown };

/** The line, its end included. */
export function encodeHeader(header: PagesHeader): Uint8Array {
  const { pageSize, source, program, filter } = header;
  const json = { hmmlab: 'pages', version: PAGES_VERSION, pageSize, source, program, filter };
  return new TextEncoder().encode(`${JSON.stringify(json)}\n`);
}

/** @throws SimError `bad-trace` */
export function decodeHeader(line: Uint8Array): PagesHeader {
  let json: Raw;
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line));
    if (typeof value !== 'object' || value === null) throw new TypeError();
    json = value;
  } catch {
    throw badTrace(0, `expected the header of a page stream; found ${quoted(line)}`);
  }
  if (json.hmmlab !== 'pages') {
    throw badTrace(0, `expected the header of a page stream; found ${quoted(line)}`);
  }
  if (json.version !== PAGES_VERSION) {
    const found = JSON.stringify(json.version);
    throw badTrace(0, `expected version ${PAGES_VERSION} of page streams; found ${found}`);
  }
  const pageSize = numberOf(json, 'pageSize', 4096, 65536);
  if ((pageSize & (pageSize - 1)) !== 0) {
    throw badTrace(0, `header: expected a pageSize that is a power of two; found ${pageSize}`);
  }
  return {
    pageSize,
    source: textOf(json, 'source'),
    program: textOf(json, 'program'),
    filter: numberOf(json, 'filter', 0, 65536),
  };
}

function numberOf(json: Raw, key: 'pageSize' | 'filter', min: number, max: number): number {
  const value = json[key];
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
    return value;
  }
  const found = JSON.stringify(value) ?? 'none';
  throw badTrace(0, `header: expected a ${key} from ${min} to ${max}; found ${found}`);
}

function textOf(json: Raw, key: 'source' | 'program'): string {
  const value = json[key];
  if (typeof value === 'string') return value;
  throw badTrace(0, `header: expected a text as ${key}; found ${JSON.stringify(value) ?? 'none'}`);
}
