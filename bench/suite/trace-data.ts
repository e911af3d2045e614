/** A trace to read and to replay. */
import { AccessWriter } from '../../src/workloads/access-writer.ts';
import { decoderFor, PagesWriter, type TraceFormat } from '../../src/workloads/formats/index.ts';
import type { WorkloadSink } from '../../src/workloads/types.ts';
import { scrambled } from '../harness/measure.ts';

/** What a file is read by. */
const PIECE_BYTES = 64 * 1024;

/** Four threads in turn, 64 accesses each: walks through memory, with jumps and stores at times. */
function writeAccesses(writer: AccessWriter, records: number): void {
  for (let i = 0; i < records; i++) {
    const random = scrambled(i);
    const thread = (i >>> 6) & 3;
    const page = (random & 15) === 0 ? (random >>> 8) & 0xffff : (i >>> 3) & 0xffff;
    writer.access(0x7f000 + thread * 0x100000 + page, thread, (random & 0xc0) === 0);
  }
  writer.flush();
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** A page stream of so many rows, each of them one access. */
export function compactTrace(records: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  const header = { pageSize: 4096, source: 'bench', program: '', filter: 0 };
  const pages = new PagesWriter(header, (bytes) => pieces.push(bytes));
  writeAccesses(new AccessWriter(pages), records);
  pages.end();
  return joined(pieces);
}

export function decode(format: TraceFormat, bytes: Uint8Array, sink: WorkloadSink): void {
  const decoder = decoderFor(format);
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    decoder.push(bytes.subarray(at, at + PIECE_BYTES), sink);
  }
  decoder.end(sink);
}
