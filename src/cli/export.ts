/** hmmlab export: writes a recording in the format of another tool. */
import { type CommandDef, defineCommand } from 'citty';
import { readRecording } from '../node/recording-file.ts';
import type { EventSource } from '../trace/event-source.ts';
import { exportChrome } from '../trace/export-chrome.ts';
import { exportJsonl } from '../trace/export-jsonl.ts';
import { exportKfd } from '../trace/export-kfd.ts';
import { EXIT_OK, UsageError } from './errors.ts';
import { printError } from './output.ts';
import { checkApart } from './output-path.ts';
import { writePieces } from './pieces.ts';
import { packageVersion } from './version.ts';

const args = {
  file: { type: 'positional', description: 'A recording', required: true },
  format: { type: 'string', description: 'chrome (for Perfetto too), kfd or jsonl' },
  output: {
    type: 'string',
    alias: 'o',
    description: 'Where to write it, instead of to standard output; packed if it ends with .gz',
  },
} as const;

/** Viewers have trouble with more. */
const CHROME_BYTES_MAX = 100_000_000;

export const exportCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'export', description: 'Writes a recording in the format of another tool' },
  args,
  async run({ args: given }) {
    const write = formatNamed(given.format);
    if (given.output === '') throw new UsageError('--output: expected a file; found nothing');
    if (given.output !== undefined) checkApart('--output', given.output, [given.file]);
    await write(readRecording(given.file), given.output);
    return EXIT_OK;
  },
});

function formatNamed(name: string | undefined): Format {
  const format = name === undefined ? undefined : FORMATS.get(name);
  if (format !== undefined) return format;
  const found = name === undefined ? 'no --format' : JSON.stringify(name);
  const names = [...FORMATS.keys()].join(', ');
  throw new UsageError(`--format: expected one of ${names}; found ${found}`);
}

type Format = (source: EventSource, output: string | undefined) => Promise<void>;

const FORMATS: ReadonlyMap<string, Format> = new Map([
  ['chrome', writeChrome],
  ['kfd', writeKfd],
  ['jsonl', writeJsonl],
]);

async function writeChrome(source: EventSource, output: string | undefined): Promise<void> {
  const bytes = await writePieces(exportChrome(source, { version: packageVersion() }), output);
  if (bytes <= CHROME_BYTES_MAX) return;
  printError(`the trace has ${Math.round(bytes / 1e6)} MB; viewers may need a shorter recording`);
}

async function writeKfd(source: EventSource, output: string | undefined): Promise<void> {
  const kfd = exportKfd(source);
  await writePieces(kfd.lines, output);
  const { nodes, leftOut, usesTime } = kfd;
  const names = [...nodes].map(([id, name]) => `${id.toString(16)} ${name}`);
  printError(`nodes: ${['0 RAM', ...names].join(', ')}`);
  if (!usesTime) printError('no virtual time passed: each record counts as 1 us');
  if (leftOut.size === 0) return;
  const counts = [...leftOut].map(([what, count]) => `${count} ${what}`);
  printError(`records that KFD has no line for: ${counts.join(', ')}`);
}

async function writeJsonl(source: EventSource, output: string | undefined): Promise<void> {
  await writePieces(exportJsonl(source), output);
}
