/** hmmlab report: sums up a recording as profilers of unified memory do. */
import { type CommandDef, defineCommand } from 'citty';
import { readRecording } from '../node/recording-file.ts';
import { makeReport } from '../trace/report.ts';
import { EXIT_OK, UsageError } from './errors.ts';
import { print, printAll } from './output.ts';
import { reportLines } from './report-text.ts';

const args = {
  file: { type: 'positional', description: 'A recording', required: true },
  json: { type: 'boolean', description: 'In the shape of unified_memory.json of rocprofiler' },
  pages: { type: 'string', description: 'How many ping-pong pages to list (10)' },
} as const;

const PAGES_MAX = 1_000_000;

export const reportCommand: CommandDef<typeof args> = defineCommand({
  meta: { name: 'report', description: 'Sums up migrations and faults of a recording' },
  args,
  run({ args: given }) {
    const options = given.pages === undefined ? {} : { pages: parsePages(given.pages) };
    const report = makeReport(readRecording(given.file), options);
    if (given.json === true) print(JSON.stringify(report, null, 2));
    else printAll(reportLines(report));
    return EXIT_OK;
  },
});

function parsePages(text: string): number {
  const pages = Number(text);
  if (/^\d+$/.test(text) && pages <= PAGES_MAX) return pages;
  const found = JSON.stringify(text);
  throw new UsageError(`--pages: expected a number from 0 to ${PAGES_MAX}; found ${found}`);
}
