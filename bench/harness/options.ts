/** The flags of `npm run bench`. */
import { parseArgs } from 'node:util';

export interface Options {
  readonly rounds: number;
  readonly only: readonly string[];
  readonly json: boolean;
  readonly markdown: boolean;
  readonly quick: boolean;
  readonly list: boolean;
  /** Figures to compare with: what --json printed once. */
  readonly compare: string | null;
  /** Figures to show instead of measuring. */
  readonly from: string | null;
}

export const USAGE = `npm run bench -- [options]

  --only NAME      only measurements and figures with NAME in their name; may be repeated
  --rounds N       samples of each thing, 1 to 99 (7); long measurements take fewer
  --quick          smaller sizes, for a first look: a minute and a half
  --json           one JSON document
  --markdown       a table for docs/performance.md
  --compare FILE   ratios to the figures that --json once wrote into FILE
  --from FILE      show the figures of FILE, measure nothing
  --list           the names

Exit codes: 0 all targets hold, 1 one does not, 2 wrong use or a bad file.
`;

/** Wrong flags. */
export class UsageError extends Error {}

/** Null where help is asked for. Throws a `UsageError` for wrong flags. */
export function readOptions(argv: readonly string[]): Options | null {
  const values = parse(argv);
  if (values.help) return null;
  if (!/^[1-9]\d?$/.test(values.rounds)) {
    throw new UsageError(`--rounds ${values.rounds}: expected a number from 1 to 99`);
  }
  if (values.json && values.markdown) throw new UsageError('--json and --markdown: expected one');
  if (values.only.includes('')) throw new UsageError('--only: expected a part of a name');
  const { only, quick, json, markdown, compare = null, from = null, list } = values;
  return { rounds: Number(values.rounds), only, quick, json, markdown, compare, from, list };
}

const OPTIONS = {
  only: { type: 'string', multiple: true, default: [] },
  rounds: { type: 'string', default: '7' },
  quick: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  markdown: { type: 'boolean', default: false },
  compare: { type: 'string' },
  from: { type: 'string' },
  list: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

interface Values {
  readonly only: string[];
  readonly rounds: string;
  readonly quick: boolean;
  readonly json: boolean;
  readonly markdown: boolean;
  readonly compare?: string | undefined;
  readonly from?: string | undefined;
  readonly list: boolean;
  readonly help: boolean;
}

function parse(argv: readonly string[]): Values {
  try {
    return parseArgs({
      args: [...argv],
      options: { ...OPTIONS, only: { ...OPTIONS.only, default: [] as string[] } },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
