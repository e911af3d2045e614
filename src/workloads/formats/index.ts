/** Traces of real programs, read and written. */
import { ChampSimDecoder } from './champsim.ts';
import type { TraceDecoder } from './decoder.ts';
import { KfdDecoder } from './kfd.ts';
import { LackeyDecoder } from './lackey.ts';
import { PagesDecoder } from './pages-decoder.ts';

export type { TraceCounts, TraceDecoder } from './decoder.ts';
export { LruFilter } from './lru-filter.ts';
export { PagesDecoder } from './pages-decoder.ts';
export type { PagesHeader } from './pages-header.ts';
export { PagesWriter } from './pages-writer.ts';

/** What can be read. */
export type TraceFormat = 'pages' | 'lackey' | 'champsim' | 'cloudsuite' | 'kfd';

export const TRACE_FORMATS: readonly TraceFormat[] = [
  'pages',
  'lackey',
  'champsim',
  'cloudsuite',
  'kfd',
];

export interface DecoderOptions {
  /** Bytes of a page of formats that know addresses; 4096 unless given. */
  readonly pageSize?: number;
  /** Of lackey: instruction fetches count as loads. False unless given. */
  readonly instructions?: boolean;
}

export function decoderFor(format: TraceFormat, options: DecoderOptions = {}): TraceDecoder {
  switch (format) {
    case 'pages':
      return new PagesDecoder();
    case 'lackey':
      return new LackeyDecoder(options);
    case 'champsim':
      return new ChampSimDecoder(options);
    case 'cloudsuite':
      return new ChampSimDecoder({ ...options, cloudsuite: true });
    case 'kfd':
      return new KfdDecoder();
  }
}

/** First bytes of a trace that are enough to tell what it is. */
export const DETECT_BYTES = 4096;

/** What a trace that begins so is; null where its bytes do not say, as those of ChampSim do not. */
export function detectFormat(head: Uint8Array): TraceFormat | null {
  const text = String.fromCharCode(...head.subarray(0, DETECT_BYTES));
  if (/^\s*\{\s*"hmmlab"/.test(text)) return 'pages';
  if (/^(==\d+==|--\d+--|I {2}[0-9a-f]{8,},\d| [LSM] [0-9a-f]{8,},\d)/m.test(text)) return 'lackey';
  if (/^[0-9a-f]{1,2} (\d+ -\d+ [@0-9a-f]|[0-9a-f]+:|[0-9a-f]+ )/.test(text)) return 'kfd';
  return null;
}
