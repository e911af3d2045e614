// Each example does what its page says: the commands of the page are run, and their output is golden.
// `npx vitest run test/examples.test.ts -u` writes the golden files anew.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readRecording } from '../src/node/recording-file.ts';
import { explainLines, explainPage, History, type PagePlace } from '../src/trace/index.ts';
import { hmmlab, ROOT } from './program/cli.ts';

const EXAMPLES = join(ROOT, 'examples');
/** Between them everything takes time: links, engines, faults, hypercalls and ultracalls. */
const SPECS = ['examples/specs/pcie3-gtx1080.json', 'examples/specs/power-uvmem.json'] as const;
const names = readdirSync(EXAMPLES).filter((name) => /^\d\d-/.test(name));
const scratch = mkdtempSync(join(tmpdir(), 'hmmlab-examples-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** The commands of a page: lines of code that begin with `npx hmmlab`. */
function commandsOf(name: string): string[] {
  const page = readFileSync(join(EXAMPLES, name, 'README.md'), 'utf8');
  return [...page.matchAll(/^ {4}npx hmmlab (.*)$/gm)].map(([, command]) => command!);
}

/** What a person would see who types the command; recordings go to a folder that is thrown away. */
function transcript(command: string): string {
  const words = command.split(' ');
  const args = words.map((word) => (word.endsWith('.hmmrec') ? join(scratch, word) : word));
  const { status, stdout, stderr } = hmmlab(args);
  const exit = status === 0 ? '' : `exit code ${status}\n`;
  return `$ npx hmmlab ${command}\n${stdout}${stderr}${exit}`.replaceAll(`${scratch}/`, '');
}

describe('the examples', () => {
  it('are nine', () => {
    expect(names.map((name) => name.slice(0, 2))).toEqual(
      Array.from({ length: 9 }, (_, i) => `0${i + 1}`),
    );
  });

  it.each(names)('%s prints what its golden file has', async (name) => {
    const commands = commandsOf(name);
    expect(commands.length).toBeGreaterThan(0);
    const output = commands.map(transcript).join('\n');
    await expect(output).toMatchFileSnapshot(join(EXAMPLES, name, 'expected.txt'));
  });

  // `conformance` is timed elsewhere, and what a recording tells has times in it.
  it.each(names)('%s prints the same where time passes', (name) => {
    const golden = readFileSync(join(EXAMPLES, name, 'expected.txt'), 'utf8');
    const runs = commandsOf(name).filter((one) => /^run /.test(one) && !one.includes('--record'));
    for (const command of runs) {
      for (const spec of SPECS) {
        const output = transcript(`${command} --spec ${spec}`).replace(` --spec ${spec}`, '');
        expect(golden).toContain(output);
      }
    }
  });
});

/** The `run` command of a page, with the events written down. */
function recorded(name: string): History {
  const command = commandsOf(name).find((one) => one.startsWith('run '))!;
  const words = command.split(' ').filter((word) => word !== '--owners');
  const path = join(scratch, `${name}.hmmrec`);
  const plain = words.includes('--record') ? words.slice(0, words.indexOf('--record')) : words;
  const { status, stderr } = hmmlab([...plain, '--record', path]);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return new History(readRecording(path));
}

/** What is wrong with the life that `explain` tells of a page. */
function gapsIn(history: History, { pid, va }: PagePlace): string[] {
  const gaps: string[] = [];
  const page = explainPage(history, pid, va);
  const changes = page.steps.filter((entry) => entry.type === 'change');
  let owner: string | null = null;
  for (const { change, chain, complete, steps } of changes) {
    const at = `#${change.id}`;
    const kinds = chain.map(({ event }) => event.kind);
    if (!complete) gaps.push(`${at} has no root`);
    if (kinds[0] !== 'call') gaps.push(`${at} begins with ${kinds[0]}`);
    if (change.from !== owner) gaps.push(`${at} comes from ${change.from}, but it was ${owner}`);
    const moved = change.from !== null && change.to !== null && change.from !== change.to;
    if (moved && !kinds.includes('migrate')) gaps.push(`${at} moved without a migration`);
    if (moved && steps.length === 0) gaps.push(`${at} moved in no steps`);
    owner = change.to;
  }
  if (owner !== null) gaps.push(`it ends with ${owner}, though the process has exited`);
  const text = explainLines(page).join('\n');
  for (const { change } of changes) {
    if (!text.includes(`#${change.id} `)) gaps.push(`the text does not tell of #${change.id}`);
  }
  return gaps;
}

describe('explain, on every page of every example', () => {
  it.each(names)('%s: each change leads back to an access or a call', (name) => {
    const history = recorded(name);
    const places = history.pages();
    expect(places.length).toBeGreaterThan(0);
    const gaps = places.flatMap((place) =>
      gapsIn(history, place).map(
        (gap) => `process ${place.pid}, 0x${place.va.toString(16)}: ${gap}`,
      ),
    );
    expect(gaps).toEqual([]);
  });
});
