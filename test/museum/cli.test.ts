// What the pages tell people to type does what they say.
import { expect, it } from 'vitest';
import { hmmlab } from '../program/cli.ts';
import { EXHIBITS, textOf } from './museum.ts';

/** The commands of a page: lines of code that begin with `npx hmmlab`. */
function commandsOf(folder: string): string[] {
  const page = textOf(folder, 'README.md');
  return [...page.matchAll(/^ {4}npx hmmlab (.*)$/gm)].map(([, command]) => command!);
}

it.each(commandsOf('.'))('hmmlab %s', (command) => {
  const { status, stdout, stderr } = hmmlab(command.split(' '));
  expect(stderr).toBe('');
  const [, folder] = /museum\/([^/]+)\//.exec(command)!;
  const { kind } = EXHIBITS.find((exhibit) => exhibit.folder === folder)!;
  const isBroken = command.includes('broken.txt');
  expect(status).toBe(isBroken ? 1 : 0);
  if (!isBroken) return;
  // The search is the one of the page, and so is what it finds.
  expect(stdout).toContain(`${kind}: `);
  expect(stdout).toContain(commandsOf(folder!)[0]!.split(' ').at(-1));
});

it('every page has the command that shows its schedule again', () => {
  for (const { folder } of EXHIBITS) {
    expect(commandsOf(folder)).toHaveLength(1);
    expect(commandsOf(folder)[0]).toMatch(/^run .*broken\.txt .*--schedule h1-[0-9a-f]{4}/);
  }
});

it.each(['04-freed-under-fault', '09-spinning-losers', '20-two-gpus'])('%s again', (folder) => {
  const { status, stdout, stderr } = hmmlab(commandsOf(folder)[0]!.split(' '));
  const { kind } = EXHIBITS.find((exhibit) => exhibit.folder === folder)!;
  expect(stderr).toBe('');
  expect(stdout).toContain(`${kind}: `);
  expect(status).toBe(1);
});
