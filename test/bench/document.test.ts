import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DocumentError, parseDocument, readDocument } from '../../bench/harness/document.ts';
import { documentOf, figure } from './documents.ts';

const folder = mkdtempSync(join(tmpdir(), 'bench-test-'));

afterAll(() => rmSync(folder, { recursive: true }));

const yardstick = { name: 'of a loop', samples: [4, 5, 6] };
const targets = [{ bound: 2, on: 'value' }] as const;
const document = documentOf(figure({ samples: [1, 2, 3], yardstick, targets }));

/** The document with something put in the place of a value. */
function damaged(path: readonly (string | number)[], value: unknown): string {
  const copy: unknown = JSON.parse(JSON.stringify(document));
  let at = copy as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string | number, unknown>;
  at[path.at(-1)!] = value;
  return JSON.stringify(copy);
}

describe('the document of a run', () => {
  it('comes back as it was written', () => {
    const path = join(folder, 'good.json');
    writeFileSync(path, JSON.stringify(document));
    expect(readDocument(path)).toEqual(document);
  });

  it('is judged by its samples, whatever else it says', () => {
    const text = damaged(['figures', 0, 'samples'], [1, 1, 1]);
    expect(parseDocument(text, 'a').figures[0]).toMatchObject({ median: 1, holds: false });
  });

  it.each([
    ['empty', '', 'found no JSON'],
    ['cut off', JSON.stringify(document).slice(0, 100), 'found no JSON'],
    ['a list', '[]', 'version'],
    ['nothing', 'null', 'the document'],
    ['of another version', damaged(['version'], 2), 'version'],
    ['without a number', damaged(['cores'], '2'), 'cores'],
    ['without a list of figures', damaged(['figures'], {}), 'figures'],
    ['with a figure of no name', damaged(['figures', 0, 'name'], null), 'figures.0.name'],
    ['with a word unknown', damaged(['figures', 0, 'better'], 'big'), 'figures.0.better'],
    ['without samples', damaged(['figures', 0, 'samples'], []), 'figures.0.samples'],
    ['with a sample of text', damaged(['figures', 0, 'samples', 1], 'x'), 'figures.0.samples.1'],
    [
      'with a yardstick without samples',
      damaged(['figures', 0, 'yardstick', 'samples'], []),
      'figures.0.yardstick.samples',
    ],
    [
      'with a target on nothing known',
      damaged(['figures', 0, 'targets', 0, 'on'], 'both'),
      'figures.0.targets.0.on',
    ],
  ])('is refused where it is %s', (_what, text, place) => {
    let error: unknown = null;
    try {
      parseDocument(text, 'OLD.json');
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(DocumentError);
    expect((error as Error).message).toMatch(/^OLD\.json: expected what bench --json writes/);
    expect((error as Error).message).toContain(place);
  });

  it('is refused where a target is about a yardstick that is not there', () => {
    const text = damaged(['figures', 0], {
      ...document.figures[0],
      yardstick: null,
      targets: [{ bound: 1, on: 'ratio' }],
    });
    expect(() => parseDocument(text, 'OLD.json')).toThrow(/OLD\.json: faults: .*ratio to nothing/);
  });

  it('must be there', () => {
    expect(() => readDocument(join(folder, 'none.json'))).toThrow(DocumentError);
    expect(() => readDocument(folder)).toThrow(DocumentError);
  });
});
