// The house rules, checked on the project itself and, below, on small snippets that break them.

import { describe, expect, it } from 'vitest';
import {
  checkBannedCode,
  checkBannedText,
  checkImportCycles,
  checkImportDirection,
  checkLinks,
  checkSizes,
  MAX_FILE_LINES,
  MAX_LINE_CHARS,
  type Offence,
} from './tidy/checks.ts';
import { existsInProject, readProject } from './tidy/project.ts';
import { codeOnly, importsOf, type SourceFile } from './tidy/source.ts';

// This file must spell what it bans.
const THIS_FILE = 'test/tidy.test.ts';

function file(path: string, ...lines: string[]): SourceFile {
  return { path, text: `${lines.join('\n')}\n` };
}

/** The places of the offences, without the messages. */
function places(offences: readonly Offence[]): string[] {
  return offences.map((text) => text.slice(0, text.indexOf(': ')));
}

describe('the project', () => {
  const files = readProject();

  it('is read at all', () => {
    const paths = files.map((entry) => entry.path);
    for (const path of ['src/index.ts', 'src/node/index.ts', '.ci/run', THIS_FILE]) {
      expect(paths).toContain(path);
    }
    expect(paths.some((path) => path.startsWith('src/core/'))).toBe(true);
    expect(paths.filter((path) => /node_modules|^dist/.test(path))).toEqual([]);
  });

  it('imports in one direction', () => {
    expect(checkImportDirection(files)).toEqual([]);
  });

  it('has no import cycle', () => {
    expect(checkImportCycles(files)).toEqual([]);
  });

  it('keeps files and lines short', () => {
    expect(checkSizes(files)).toEqual([]);
  });

  it('keeps the host out of the emulated machine', () => {
    expect(checkBannedCode(files)).toEqual([]);
  });

  it('has no unfinished work and no private paths', () => {
    expect(checkBannedText(files.filter((entry) => entry.path !== THIS_FILE))).toEqual([]);
  });

  it('links only to files that exist', () => {
    const isGuide = (path: string): boolean => path === 'README.md' || path.startsWith('docs/');
    const guides = files.filter((entry) => isGuide(entry.path));
    expect(checkLinks(guides, existsInProject)).toEqual([]);
  });
});

describe('reading TypeScript', () => {
  it('finds every form of import, its line and whether it is only a type', () => {
    const source = file(
      'src/core/a.ts',
      "import { a } from './a1.ts';",
      "import type { B } from './b.ts';",
      "import { type C } from './c.ts';",
      "export * from './d.ts';",
      "export type { E } from './e.ts';",
      "import './f.ts';",
      "const g = await import('./g.ts');",
      "type H = import('./h.ts').H;",
      "// import './not-this.ts';",
      'const text = "import \'./nor-this.ts\'";',
    );
    expect(importsOf(source)).toEqual([
      { specifier: './a1.ts', line: 1, typeOnly: false },
      { specifier: './b.ts', line: 2, typeOnly: true },
      { specifier: './c.ts', line: 3, typeOnly: false },
      { specifier: './d.ts', line: 4, typeOnly: false },
      { specifier: './e.ts', line: 5, typeOnly: true },
      { specifier: './f.ts', line: 6, typeOnly: false },
      { specifier: './g.ts', line: 7, typeOnly: false },
      { specifier: './h.ts', line: 8, typeOnly: true },
    ]);
  });

  it('blanks comments and strings, and nothing else', () => {
    const source = file(
      'src/core/a.ts',
      '/** gone */',
      "const a = 'gone' + `gone ${kept} gone`; // gone",
      'const b = /gone/.test(kept); /* gone',
      'gone */ kept();',
    );
    const code = codeOnly(source);
    expect(code).not.toContain('gone');
    expect(code.match(/kept/g)).toHaveLength(3);
    expect(code.split('\n')).toHaveLength(5);
    expect(code).toHaveLength(source.text.length);
  });
});

describe('import direction', () => {
  /** The messages for one import, written in the second line of a file. */
  function offencesOf(path: string, specifier: string, keyword = 'import'): Offence[] {
    return checkImportDirection([file(path, '', `${keyword} { a } from '${specifier}';`)]);
  }

  it.each([
    ['src/core/a.ts', '../drivers/driver.ts'],
    ['src/core/mm/a.ts', '../../hw/link.ts'],
    ['src/hw/a.ts', '../program/a.ts'],
    ['src/program/a.ts', '../drivers/driver.ts'],
    ['src/drivers/nouveau/a.ts', '../../testing/clock.ts'],
    ['src/workloads/a.ts', '../trace/a.ts'],
    ['src/trace/a.ts', '../testing/a.ts'],
    ['src/testing/a.ts', '../workloads/a.ts'],
    ['src/testing/a.ts', '../node/index.ts'],
    ['src/node/a.ts', '../cli/main.ts'],
    ['src/index.ts', './workloads/a.ts'],
    ['src/index.ts', './testing/a.ts'],
    ['src/index.ts', './node/index.ts'],
    ['src/cli/main.ts', '../index.ts'],
    ['src/cli/main.ts', '../../package.json'],
    ['src/cli/main.ts', '../viewer/a.ts'],
    ['src/drivers/nouveau/a.ts', '../dmirror/a.ts'],
    ['src/core/a.ts', 'zod'],
    ['src/core/a.ts', 'rxjs-like/operators'],
    ['src/core/a.ts', 'node:fs'],
    ['src/core/a.ts', 'fs'],
    ['src/drivers/nouveau/a.ts', 'node:crypto'],
    ['src/testing/a.ts', 'node:assert/strict'],
    ['src/index.ts', 'node:fs'],
    ['src/cli/main.ts', 'hmmlab'],
    ['src/cli/main.ts', 'hmmlab/node'],
  ])('%s may not import %s', (path, specifier) => {
    expect(places(offencesOf(path, specifier))).toEqual([`${path}:2`]);
    expect(places(offencesOf(path, specifier, 'import type'))).toEqual([`${path}:2`]);
  });

  it.each([
    ['src/core/mm/a.ts', '../sched/b.ts'],
    ['src/hw/a.ts', '../core/units.ts'],
    ['src/drivers/nouveau/a.ts', '../driver.ts'],
    ['src/drivers/nouveau/a.ts', './fault.ts'],
    ['src/drivers/nouveau/deep/a.ts', '../fault.ts'],
    ['src/drivers/index.ts', './dmirror/a.ts'],
    ['src/testing/a.ts', '../drivers/driver.ts'],
    ['src/workloads/a.ts', '../program/a.ts'],
    ['src/node/a.ts', '../trace/a.ts'],
    ['src/cli/main.ts', '../node/index.ts'],
    ['src/index.ts', './trace/a.ts'],
    ['src/core/a.ts', 'eventemitter3'],
    ['src/core/a.ts', 'rxjs/operators'],
    ['src/core/a.ts', 'pure-rand/generator/xoroshiro128plus'],
    ['src/trace/a.ts', 'zod'],
    ['src/cli/main.ts', 'node:fs'],
    ['test/a.test.ts', '../src/cli/main.ts'],
  ])('%s may import %s', (path, specifier) => {
    expect(offencesOf(path, specifier)).toEqual([]);
  });

  it('refuses a file that lies in no layer', () => {
    const files = [file('src/viewer/a.ts', 'export {};'), file('src/stray.ts', 'export {};')];
    expect(places(checkImportDirection(files))).toEqual(['src/viewer/a.ts:1', 'src/stray.ts:1']);
  });

  it('reports every offender', () => {
    const bad = file('src/core/a.ts', "import 'zod';", "import '../hw/a.ts';", "import 'node:fs';");
    expect(places(checkImportDirection([bad, { ...bad, path: 'src/core/b.ts' }]))).toHaveLength(6);
  });
});

describe('import cycles', () => {
  const b = file('src/core/b.ts', "import './c.ts';");

  it('shows the way round from each import of a cycle', () => {
    const a = file('src/core/a.ts', '', "import './b.ts';");
    const c = file('src/core/c.ts', "const a = await import('./a.ts');");
    const outside = file('src/core/outside.ts', "import './a.ts';");
    const [a1, b1, c1] = ['src/core/a.ts', 'src/core/b.ts', 'src/core/c.ts'];
    expect(checkImportCycles([a, b, c, outside])).toEqual([
      `${a1}:2: import cycle: ${a1} -> ${b1} -> ${c1} -> ${a1}`,
      `${b1}:1: import cycle: ${b1} -> ${c1} -> ${a1} -> ${b1}`,
      `${c1}:1: import cycle: ${c1} -> ${a1} -> ${b1} -> ${c1}`,
    ]);
  });

  it('sees a file that imports itself', () => {
    const self = file('src/core/self.ts', "export * from './self.ts';");
    expect(places(checkImportCycles([self]))).toEqual(['src/core/self.ts:1']);
  });

  it('lets types refer to each other', () => {
    const c = file('src/core/c.ts', "import type { B } from './b.ts';");
    expect(checkImportCycles([b, c])).toEqual([]);
  });
});

describe('sizes', () => {
  const lines = (count: number): string[] => new Array<string>(count).fill('a();');

  it.each(['src/core/a.ts', 'test/a.test.ts', 'bench/a.ts', 'examples/01-a/main.ts'])(
    '%s may not be too long',
    (path) => {
      const tooLong = checkSizes([file(path, ...lines(MAX_FILE_LINES + 1))]);
      expect(places(tooLong)).toEqual([`${path}:${MAX_FILE_LINES + 1}`]);
      expect(checkSizes([file(path, ...lines(MAX_FILE_LINES))])).toEqual([]);
    },
  );

  it('lines of src may not be too long', () => {
    const longest = '/'.repeat(MAX_LINE_CHARS);
    const offences = checkSizes([file('src/hw/a.ts', longest, `${longest}/`, '', `${longest}/`)]);
    expect(places(offences)).toEqual(['src/hw/a.ts:2', 'src/hw/a.ts:4']);
    expect(checkSizes([file('test/a.ts', `${longest}/`)])).toEqual([]);
  });
});

describe('banned words', () => {
  const inCode: [code: string, word: string, instead: string][] = [
    ['const a = Math.random();', 'Math.random', 'seeded generator'],
    ['const a = Date.now;', 'Date.now', 'virtual clock'],
    ['const a = globalThis.performance.now();', 'performance.now', 'virtual clock'],
    ['setTimeout(f, 1);', 'setTimeout', 'virtual clock'],
    ['globalThis.setInterval(f, 1);', 'setInterval', 'virtual clock'],
    ['const a = process.env;', 'process.', 'option'],
    ['const a = `${process?.pid}`;', 'process.', 'option'],
    ['const a = globalThis.process.env;', 'process.', 'option'],
    ["const a = require('a');", 'require(', 'import declaration'],
  ];

  it.each(inCode)('%s', (code, word, instead) => {
    for (const folder of ['src/core', 'src/hw', 'src/program', 'src/drivers/nouveau']) {
      const offences = checkBannedCode([file(`${folder}/a.ts`, '', code)]);
      expect(places(offences)).toEqual([`${folder}/a.ts:2`]);
      expect(offences[0]).toContain(`${word} is banned`);
      expect(offences[0]).toContain(instead);
    }
    expect(checkBannedCode([file('src/cli/a.ts', code), file('bench/a.ts', code)])).toEqual([]);
  });

  it('reports every use', () => {
    const bad = file('src/core/a.ts', 'Date.now() - Date.now();', '', 'Date.now();');
    expect(places(checkBannedCode([bad]))).toEqual([
      'src/core/a.ts:1',
      'src/core/a.ts:1',
      'src/core/a.ts:3',
    ]);
  });

  it.each([
    '// A process. It sleeps with setTimeout(',
    '/** Unlike Math.random, this is seeded. */',
    "throw new Error('no such process.');",
    'this.process.exit();',
    'subprocess.exit();',
    'lock.require(a);',
  ])('lets %s pass', (code) => {
    expect(checkBannedCode([file('src/core/a.ts', code)])).toEqual([]);
  });

  it.each([
    ['src/core/a.ts', `// ${'TO'}DO: the rest`],
    ['docs/a.md', `${'FIX'}ME later`],
    ['test/a.ts', '/* XXX */'],
    ['README.md', 'a HACK'],
    ['.ci/run', `cd ${'/wo'}rk/somewhere`],
    ['package.json', `"file://${'/ro'}ot/a"`],
    ['test/a.test.ts', "it.only('a', f);"],
    ['test/a.test.ts', "describe.only('a', f);"],
  ])('%s may not say %s', (path, text) => {
    expect(places(checkBannedText([file(path, 'fine', text)]))).toEqual([`${path}:2`]);
  });

  it.each(['mastodon, HACKING', 'src/root/a', '../work/a.ts', 'map.onlyOne()', 'read-only (fs)'])(
    'any file may say %s',
    (text) => {
      expect(checkBannedText([file('docs/a.md', text)])).toEqual([]);
    },
  );
});

describe('links', () => {
  const exists = (path: string): boolean =>
    ['README.md', 'docs/a.md', 'docs/a b.png'].includes(path);

  it.each([
    ['docs/a.md', '[a](b.md)'],
    ['docs/a.md', '![a](../a.png "title")'],
    ['docs/a.md', '[a](b.md#part)'],
    ['docs/a.md', '[a](../../README.md)'],
    ['README.md', '[a](docs/a.md) and [b](docs/b.md)'],
    ['README.md', '[a]: docs/b.md'],
    ['README.md', '<img src="docs/b.png">'],
    ['README.md', "<a href='docs/b.md'>b</a>"],
  ])('in %s, %s leads nowhere', (path, text) => {
    expect(places(checkLinks([file(path, 'fine', text)], exists))).toEqual([`${path}:2`]);
  });

  it('reports every dead link, also after code', () => {
    const page = file('README.md', '```ts', 'a[0](b)', '```', '[a](x.md) [b](y.md)', '[c](z.md)');
    expect(places(checkLinks([page], exists))).toEqual([
      'README.md:4',
      'README.md:4',
      'README.md:5',
    ]);
  });

  it.each([
    ['docs/a.md', '[a](../README.md#top)'],
    ['README.md', '[a](docs/a.md "title")'],
    ['README.md', '![a](docs/a%20b.png)'],
    ['README.md', '[a](https://example.org/b.md) [b](#part) [c](mailto:a@example.org)'],
    ['README.md', 'write `[a](b.md)`'],
    ['README.md', '~~~\n[a](b.md)\n~~~'],
  ])('in %s, %s is fine', (path, text) => {
    expect(checkLinks([file(path, text)], exists)).toEqual([]);
  });
});
