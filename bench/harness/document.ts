/** The figures of a run as a file: what --json prints, and --compare and --from read. */
import { readFileSync } from 'node:fs';
import * as v from 'valibot';
import { type Figure, makeFigure } from './figure.ts';

export const DOCUMENT_VERSION = 1;

export interface BenchDocument {
  readonly version: typeof DOCUMENT_VERSION;
  /** Of Node, as in `process.version`. */
  readonly node: string;
  readonly processor: string;
  readonly cores: number;
  readonly quick: boolean;
  readonly figures: readonly Figure[];
}

/** A file that is not what --json writes. */
export class DocumentError extends Error {}

const number = v.pipe(v.number(), v.finite());
const samples = v.pipe(v.array(number), v.minLength(1));
const figure = v.object({
  name: v.string(),
  section: v.string(),
  unit: v.string(),
  better: v.picklist(['more', 'less']),
  targets: v.array(v.object({ bound: number, on: v.picklist(['value', 'ratio']) })),
  note: v.string(),
  samples,
  yardstick: v.nullable(v.object({ name: v.string(), samples })),
});
const schema = v.object({
  version: v.literal(DOCUMENT_VERSION),
  node: v.string(),
  processor: v.string(),
  cores: number,
  quick: v.boolean(),
  figures: v.array(figure),
});

/** Throws a `DocumentError` that says what is wrong and where. */
export function readDocument(path: string): BenchDocument {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new DocumentError(`${path}: cannot be read: ${(error as Error).message}`);
  }
  return parseDocument(text, path);
}

/** What follows from the samples is computed anew. */
export function parseDocument(text: string, path: string): BenchDocument {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    const reason = (error as Error).message;
    throw new DocumentError(`${path}: expected what bench --json writes, found no JSON: ${reason}`);
  }
  const result = v.safeParse(schema, data);
  if (!result.success) {
    const [{ message }] = result.issues;
    const place = v.getDotPath(result.issues[0]) ?? 'the document';
    throw new DocumentError(`${path}: expected what bench --json writes; ${place}: ${message}`);
  }
  const { figures, ...others } = result.output;
  try {
    return { ...others, figures: figures.map((one) => makeFigure(one.section, one, one)) };
  } catch (error) {
    throw new DocumentError(`${path}: ${(error as Error).message}`);
  }
}
