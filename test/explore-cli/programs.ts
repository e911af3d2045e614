// Programs for the command line to search, each in a file of its own.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

const HEADER = 'machine era v6.1 ram 1MiB\ndevice dmirror private chunk 1MiB\n';

/** B reads what A writes, or does not: only one order is expected. */
const RACE = `program race
mmap 0 1 anon rw
cpu_write 0 0 1 7
parallel
  thread A
    cpu_write 0 0 1 8
  thread B
    r = cpu_read 0 0 1
join
expect r.data=8
end
`;

/** Both write the same. */
const QUIET = `program quiet
mmap 0 1 anon rw
parallel
  thread A
    cpu_write 0 0 1 8
  thread B
    cpu_write 0 0 1 8
join
expect value(0,0)=8
end
`;

/** Wrong in any order. */
const WRONG = `program wrong
mmap 0 1 anon rw
cpu_write 0 0 1 7
r = cpu_read 0 0 1
expect r.data=8
end
`;

export interface Files {
  readonly race: string;
  readonly quiet: string;
  readonly wrong: string;
  /** The three of them. */
  readonly all: string;
  /** Somewhere to write. */
  path(name: string): string;
}

/** The files live as long as the tests of the file that asks for them. */
export function programFiles(): Files {
  const folder = mkdtempSync(join(tmpdir(), 'hmmlab-explore-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const path = (name: string): string => join(folder, name);
  const file = (name: string, programs: string): string => {
    writeFileSync(path(name), HEADER + programs);
    return path(name);
  };
  return {
    race: file('race.txt', RACE),
    quiet: file('quiet.txt', QUIET),
    wrong: file('wrong.txt', WRONG),
    all: file('all.txt', WRONG + QUIET + RACE),
    path,
  };
}
