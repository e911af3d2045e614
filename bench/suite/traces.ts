/** Real programs as workloads: how fast traces are read. */
import type { TraceFormat } from '../../src/workloads/formats/index.ts';
import type { AccessBatch, WorkloadSink } from '../../src/workloads/types.ts';
import { expectEqual, interleave, keep, rateOf, scrambled } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';
import { compactTrace, decode } from './trace-data.ts';

const RECORDS = 4_000_000;
const LINES = 2_000_000;
const COMPACT = 'accesses read from the compact format';
const LACKEY = 'lines read from lackey text';

/** Looks at every access, as little as one can. */
class CountingSink implements WorkloadSink {
  rows = 0;
  sum = 0;

  accesses({ count, vpn }: AccessBatch): void {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += vpn[i]!;
    this.rows += count;
    this.sum += sum;
  }

  mapping(): void {}
}

/** As valgrind prints it: three fetches of instructions for each load, store or change. */
function lackeyTrace(): { readonly bytes: Uint8Array; readonly accesses: number } {
  const lines: string[] = ['==1== Lackey, an example Valgrind tool'];
  let accesses = 0;
  for (let i = 1; lines.length < LINES; i++) {
    const random = scrambled(i);
    const hex = (value: number): string => value.toString(16).padStart(8, '0');
    for (let k = 0; k < 3; k++) lines.push(`I  ${hex(0x04001000 + i * 12 + k * 4)},4`);
    const kind = 'LLSM'[random & 3]!;
    // A change is a load and a store, which a reader may take for one or for two accesses.
    accesses++;
    lines.push(` ${kind} 1ffe${hex((random >>> 2) & 0xfffff8).slice(2)},8`);
  }
  const bytes = new TextEncoder().encode(`${lines.slice(0, LINES).join('\n')}\n`);
  return { bytes, accesses };
}

function rowsOf(format: TraceFormat, bytes: Uint8Array): number {
  const sink = new CountingSink();
  decode(format, bytes, sink);
  keep(sink.sum);
  return sink.rows;
}

function sumOfBytes(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += bytes[i]!;
  return sum;
}

function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === 10) lines++;
  return lines;
}

export const TRACES: Measurement = {
  name: 'traces',
  section: '9',
  figures: [
    {
      name: COMPACT,
      unit: '/s',
      better: 'more',
      targets: [{ bound: 20_000_000, on: 'value' }],
      note: 'rows, each of them one access: no filter; from memory, in pieces of 64 KiB',
    },
    {
      name: LACKEY,
      unit: '/s',
      better: 'more',
      targets: [{ bound: 8_000_000, on: 'value' }],
      note: 'three of four lines are fetches of instructions, which are left out',
    },
  ],
  async run({ rounds }) {
    const compact = compactTrace(RECORDS);
    const lackey = lackeyTrace();
    const got = await interleave(rounds, {
      compact: () => rateOf(RECORDS, () => expectEqual('rows', rowsOf('pages', compact), RECORDS)),
      bytes: () => rateOf(RECORDS, () => keep(sumOfBytes(compact))),
      lackey: () =>
        rateOf(LINES, () => {
          const rows = rowsOf('lackey', lackey.bytes);
          if (rows < lackey.accesses) throw new Error(`${rows} rows of ${lackey.accesses}`);
        }),
      lines: () => rateOf(LINES, () => expectEqual('lines', countLines(lackey.bytes), LINES)),
    });
    return [
      {
        name: COMPACT,
        samples: got.compact,
        yardstick: { name: '/s, their bytes added up', samples: got.bytes },
        detail: `${(compact.length / RECORDS).toFixed(1)} bytes each`,
      },
      {
        name: LACKEY,
        samples: got.lackey,
        yardstick: { name: '/s, line ends counted', samples: got.lines },
        detail: `${(lackey.bytes.length / LINES).toFixed(1)} bytes each`,
      },
    ];
  },
};
