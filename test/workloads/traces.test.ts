// The traces of real programs in examples/traces: whole, small, and played the same every time.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { replayText } from '../../src/cli/replay-text.ts';
import { readTrace } from '../../src/node/trace-input.ts';
import {
  type PlayDriver,
  Player,
  type PlayReport,
  parseRule,
  playReport,
} from '../../src/workloads/play/index.ts';

const FOLDER = fileURLToPath(new URL('../../examples/traces/', import.meta.url));
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith('.pages.gz'));
const BYTES_MAX = 200_000;

async function replay(file: string, driver: PlayDriver, devices: number): Promise<PlayReport> {
  const rule = parseRule('phase:100000', devices, 4096);
  const player = new Player({ driver, devices, rule, devicePages: 64 });
  await readTrace(join(FOLDER, file), player);
  player.end();
  return playReport(player);
}

it('there are at least six', () => {
  expect(FILES.length).toBeGreaterThanOrEqual(6);
});

describe.each(FILES)('%s', (file) => {
  it('is as the table says', async () => {
    const pages = new Set<number>();
    const sink = {
      accesses: ({ count, vpn }: { count: number; vpn: Float64Array }): void => {
        for (let i = 0; i < count; i++) pages.add(vpn[i]!);
      },
      mapping: (): void => {},
    };
    const { header, counts } = await readTrace(join(FOLDER, file), sink);
    const { size } = statSync(join(FOLDER, file));
    expect(size).toBeLessThan(BYTES_MAX);
    expect(header).toMatchObject({ pageSize: 4096, source: 'lackey' });
    const { accesses, records, threads } = counts;
    const row = [header!.program, header!.filter, accesses, records, pages.size, threads, size];
    const table = readFileSync(join(FOLDER, 'README.md'), 'utf8');
    expect(table).toContain(`| ${row.map((cell) => cell.toLocaleString('en-US')).join(' | ')} |`);
  });

  const played: [number, PlayDriver][] = [
    [1, 'nouveau'],
    [2, 'nouveau'],
    [8, 'nouveau'],
    [2, 'dmirror'],
  ];
  it.each(played)('is played on %i x %s as before, with nothing lost', async (devices, driver) => {
    const report = await replay(file, driver, devices);
    expect(report).toMatchObject({ mismatches: 0, findings: [], folded: 0 });
    expect(report.agents.map(({ failed }) => failed)).toEqual(report.agents.map(() => 0));
    const trace = `examples/traces/${file}`;
    const text = `${replayText({ trace, program: '', report }).join('\n')}\n`;
    const name = `${file.replace('.pages.gz', '')}-${devices}${driver === 'nouveau' ? '' : `-${driver}`}`;
    await expect(text).toMatchFileSnapshot(`golden/${name}.txt`);
  });
});
