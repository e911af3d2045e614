/** hmmlab import: turns the trace of a real program into a page stream. */
import { basename } from 'node:path';
import { type CommandDef, defineCommand } from 'citty';
import { readTrace } from '../node/trace-input.ts';
import { PageStreamFile } from '../node/trace-output.ts';
import {
  LruFilter,
  PagesWriter,
  TRACE_FORMATS,
  type TraceFormat,
} from '../workloads/formats/index.ts';
import { PageSet } from '../workloads/page-set.ts';
import type { AccessBatch, MappingChange, WorkloadSink } from '../workloads/types.ts';
import { EXIT_OK, UsageError } from './errors.ts';
import { onSignal, print } from './output.ts';
import { outputPath } from './output-path.ts';
import { portionRead, ReadingBar, rateText } from './progress.ts';

const FILTER_MAX = 65_536;

const args = {
  file: {
    type: 'positional',
    description: 'A trace, packed with gzip or not; - for standard input',
    required: true,
  },
  out: {
    type: 'string',
    alias: 'o',
    description: 'Where the page stream goes; packed if it ends with .gz',
  },
  format: {
    type: 'string',
    description: 'pages, lackey, champsim, cloudsuite or kfd; found out unless given',
  },
  filter: {
    type: 'string',
    description: 'Entries of the LRU list a thread, whose hits are left out; 0 keeps every access',
    default: '64',
  },
  'page-size': { type: 'string', description: 'Bytes of a page; 4096 unless given' },
  instructions: {
    type: 'boolean',
    description: "Of lackey's lines: count instruction fetches, too",
  },
  name: {
    type: 'string',
    description: 'The program, for people; the name of the file unless given',
  },
  json: { type: 'boolean', description: 'One JSON object instead of text' },
} as const;

export const importCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'import', description: 'Turns the trace of a real program into a page stream' },
  args,
  async run({ args: given }) {
    const { file } = given;
    const out = outputPath('--out', given.out ?? '', [file]);
    const entries = wholeNumber('--filter', given.filter, 0, FILTER_MAX);
    const pageSize = parsePageSize(given['page-size'] ?? '4096');
    const format = parseTraceFormat(given.format);
    const program = given.name ?? (file === '-' ? '' : basename(file));
    const output = new PageStreamFile(out);
    const callOff = onSignal(() => output.abandon());
    const bar = new ReadingBar();
    const stream = new Importing(entries, (bytes) => output.write(bytes));
    try {
      const { counts, ...found } = await readTrace(file, stream, {
        ...(format === undefined ? {} : { format }),
        pageSize,
        instructions: given.instructions === true,
        onStart: (source, header) => {
          if (header !== null && given['page-size'] !== undefined) {
            throw new UsageError('--page-size: a page stream says that itself');
          }
          if (source !== 'lackey' && given.instructions === true) {
            throw new UsageError(`--instructions: of lackey's lines; found ${source}`);
          }
          stream.begin(
            header === null
              ? { pageSize, source, program, filter: entries }
              : { ...header, filter: Math.max(header.filter, entries) },
          );
        },
        onProgress: (progress) => bar.update(portionRead(progress)),
      });
      stream.end();
      output.commit();
      bar.clear();
      const told = {
        file,
        format: found.format,
        lines: counts.lines,
        passedOver: counts.passedOver,
        accesses: counts.accesses,
        threads: counts.threads,
        filter: entries,
        records: stream.records,
        pages: stream.pages,
        mappings: stream.mappings,
        out,
        bytes: output.bytes,
      };
      print(given.json === true ? JSON.stringify(told) : summaryText(told, bar));
      return EXIT_OK;
    } finally {
      bar.clear();
      callOff();
      output.abandon();
    }
  },
});

interface Told {
  readonly file: string;
  readonly format: TraceFormat;
  readonly lines: number;
  /** Lines that say nothing of accesses: the program's own. */
  readonly passedOver: number;
  readonly accesses: number;
  readonly threads: number;
  readonly filter: number;
  readonly records: number;
  readonly pages: number;
  readonly mappings: number;
  readonly out: string;
  readonly bytes: number;
}

function summaryText(told: Told, bar: ReadingBar): string {
  const { file, format, lines, accesses, threads, records, pages, mappings, out, bytes } = told;
  const passedOver = told.passedOver === 0 ? '' : `, ${told.passedOver} lines passed over`;
  const left = told.filter === 0 ? 'all kept' : `${records} kept by a filter of ${told.filter}`;
  return [
    `${file}: ${format}, ${lines} lines, ${accesses} accesses by ${threads} threads (${left})`,
    `${pages} pages, ${mappings} changes of mappings${passedOver}`,
    `${bytes} bytes in ${out}, ${rateText(bar.rate(lines))} lines/s`,
  ].join('\n');
}

/** From what is read, through the filter, into the stream; and counts. */
class Importing implements WorkloadSink {
  records = 0;
  mappings = 0;
  readonly #entries: number;
  readonly #write: (bytes: Uint8Array) => void;
  readonly #pages: PageSet = new PageSet();
  #writer: PagesWriter | null = null;
  #filter: LruFilter | null = null;

  constructor(entries: number, write: (bytes: Uint8Array) => void) {
    this.#entries = entries;
    this.#write = write;
  }

  /** Pages that were touched. */
  get pages(): number {
    return this.#pages.size;
  }

  begin(header: ConstructorParameters<typeof PagesWriter>[0]): void {
    const writer = new PagesWriter(header, this.#write);
    this.#writer = writer;
    if (this.#entries === 0) return;
    this.#filter = new LruFilter(this.#entries, {
      accesses: (batch) => this.#keep(writer, batch),
      mapping: (change) => writer.mapping(change),
    });
  }

  accesses(batch: AccessBatch): void {
    if (this.#filter !== null) this.#filter.accesses(batch);
    else this.#keep(this.#writer!, batch);
  }

  mapping(change: MappingChange): void {
    this.mappings++;
    (this.#filter ?? this.#writer!).mapping(change);
  }

  end(): void {
    this.#filter?.end();
    this.#writer!.end();
  }

  #keep(writer: PagesWriter, batch: AccessBatch): void {
    this.records += batch.count;
    for (let i = 0; i < batch.count; i++) this.#pages.add(batch.vpn[i]!);
    writer.accesses(batch);
  }
}

/** A value of `--format`. */
export function parseTraceFormat(name: string | undefined): TraceFormat | undefined {
  if (name === undefined) return undefined;
  const format = TRACE_FORMATS.find((one) => one === name);
  if (format !== undefined) return format;
  const names = TRACE_FORMATS.join(', ');
  throw new UsageError(`--format: expected one of ${names}; found ${JSON.stringify(name)}`);
}

function parsePageSize(text: string): number {
  const bytes = wholeNumber('--page-size', text, 4096, 65_536);
  if ((bytes & (bytes - 1)) === 0) return bytes;
  throw new UsageError(`--page-size: expected a power of two; found ${text}`);
}

/** The number that a flag gives. */
export function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(
    `${flag}: expected a whole number from ${min} to ${max}; found ${JSON.stringify(text)}`,
  );
}
