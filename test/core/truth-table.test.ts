// Which pages a migration collects, cell by cell: what an entry holds, against the era and what the
// driver asked for. Every entry is made through the library as a program or a driver would make it.

import { describe, expect, it } from 'vitest';
import { EINVAL } from '../../src/core/errno.ts';
import type { SimError } from '../../src/core/errors.ts';
import {
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  migratePfn,
} from '../../src/core/migrate/index.ts';
import { PTE_DIRTY, PTE_KIND, PTE_MIGRATION, PTE_WRITE } from '../../src/core/mm/pte.ts';
import { NO_PAGE } from '../../src/core/units.ts';
import { ENTRIES, type Entry, type EntryName } from './entries.ts';
import { COHERENT, MigrationLab, PRIVATE, SYSTEM } from './migration-lab.ts';

/**
 * `0`: left alone. `M`: no page, and MIGRATE. `VM`: the page is taken. `VM, then 0`: collect takes
 * it, the rest of setup gives it back. `n/a`: the era has no such entry.
 */
type Cell = '0' | 'M' | 'VM' | 'VM, then 0' | 'n/a';

const COLUMNS = [
  { era: 'v5.6', asks: 'everything', flags: 0, owner: null },
  { era: 'v5.7', asks: 'src_owner NULL', flags: 0, owner: null },
  { era: 'v5.7', asks: 'src_owner X', flags: 0, owner: 'x' },
  { era: 'v5.10', asks: 'S', flags: SYSTEM, owner: 'x' },
  { era: 'v5.10', asks: 'P of X', flags: PRIVATE, owner: 'x' },
  { era: 'v5.10', asks: 'C of X', flags: COHERENT, owner: 'x' },
  { era: 'v5.10', asks: 'no flags', flags: 0, owner: 'x' },
  { era: 'v5.10', asks: 'S|P of X', flags: SYSTEM | PRIVATE, owner: 'x' },
  { era: 'v6.1', asks: 'S', flags: SYSTEM, owner: 'x' },
  { era: 'v6.1', asks: 'P of X', flags: PRIVATE, owner: 'x' },
  { era: 'v6.1', asks: 'C of X', flags: COHERENT, owner: 'x' },
  { era: 'v6.1', asks: 'no flags', flags: 0, owner: 'x' },
  { era: 'v6.1', asks: 'S|P of X', flags: SYSTEM | PRIVATE, owner: 'x' },
] as const;

type Column = (typeof COLUMNS)[number];

type Five = readonly [Cell, Cell, Cell, Cell, Cell];

/** A row of the table: v5.6, the two of v5.7, the five of v5.10, the five of v6.1. */
function row(v5_6: Cell, v5_7: readonly [Cell, Cell], v5_10: Five, v6_1: Five = v5_10): Cell[] {
  return [v5_6, ...v5_7, ...v5_10, ...v6_1];
}

const NOTHING: Five = ['0', '0', '0', '0', '0'];
const ABSENT: Five = ['n/a', 'n/a', 'n/a', 'n/a', 'n/a'];
/** What S selects, and nothing else does. */
function withSystem(cell: Cell): Five {
  return [cell, '0', '0', '0', cell];
}

const HOLE: Five = ['M', 'M', 'M', 'M', 'M'];
const HELD = 'VM, then 0';

const ROWS: Readonly<Record<EntryName, Cell[]>> = {
  'none, anonymous VMA': row('M', ['M', 'M'], HOLE),
  'none, file VMA': row('M', ['M', 'M'], NOTHING),
  'pmd hole, anonymous VMA': row('M', ['M', 'M'], HOLE),
  'pmd hole, file VMA': row('M', ['M', 'M'], NOTHING),
  'zero page': row('M', ['M', '0'], withSystem('M')),
  'system anonymous page': row('VM', ['VM', '0'], withSystem('VM')),
  'system anonymous page, read-only': row('VM', ['VM', '0'], withSystem('VM')),
  'system page of a private file mapping': row('VM', ['VM', '0'], withSystem('VM')),
  'system page of a shared file mapping': row('VM', ['VM', '0'], withSystem('VM')),
  'system page of shared anonymous memory': row('VM', ['VM', '0'], withSystem('VM')),
  'system page, locked by somebody else': row(HELD, [HELD, '0'], withSystem(HELD), withSystem('0')),
  'system page, pinned': row(HELD, [HELD, '0'], withSystem(HELD), withSystem('0')),
  'system page, somebody has a reference': row(HELD, [HELD, '0'], withSystem(HELD)),
  'migration entry': row('0', ['0', '0'], NOTHING),
  'device-exclusive entry': row('n/a', ['n/a', 'n/a'], ABSENT, NOTHING),
  "device-private page, X's own": row('VM', ['0', 'VM'], ['0', 'VM', '0', '0', 'VM']),
  'device-private page of another owner': row('VM', ['0', '0'], NOTHING),
  "device-coherent page, X's own": row('n/a', ['n/a', 'n/a'], ABSENT, ['0', '0', 'VM', '0', '0']),
  'device-coherent page of another owner': row('n/a', ['n/a', 'n/a'], ABSENT, NOTHING),
  'special entry': row('0', ['0', '0'], NOTHING),
  'present page without a mapping': row('0', ['0', '0'], NOTHING),
};

function checkCell(column: Column, entry: Entry, cell: Cell): void {
  const lab = new MigrationLab(column.era);
  const made = entry(lab);
  const { va, clean } = made;
  const { pages } = lab;
  const page = lab.machine.pageAt(lab.proc, va) ?? NO_PAGE;
  const bits = lab.bitsAt(va);
  const countsBefore = lab.counts(page);
  const wasLocked = pages.isLocked(page);
  const owner = column.owner === null ? null : lab.x;
  const migration = lab.setup(va, 1, { flags: column.flags, owner });
  const { args, collected } = migration;
  const { src, dst, cpages } = args;

  const write = (bits & PTE_WRITE) !== 0 ? MIGRATE_PFN_WRITE : 0;
  const taken = migratePfn(page) | MIGRATE_PFN_MIGRATE | write;
  // Until v5.15 the word says that collect got the lock.
  const lock = lab.machine.era.dropsLockedInCollect || wasLocked ? 0 : MIGRATE_PFN_LOCKED;
  const collectedWord = { '0': 0, M: MIGRATE_PFN_MIGRATE, VM: taken | lock };
  const isRefused = made.refused === true;
  expect(migration.ret).toBe(isRefused ? -EINVAL : 0);
  if (!isRefused) {
    const word = collectedWord[cell === HELD ? 'VM' : (cell as '0' | 'M' | 'VM')];
    expect(collected).toEqual({ src: [word], cpages: word === 0 ? 0 : 1 });
    expect(args.npages).toBe(1);
  }

  const after = cell === HELD ? '0' : (cell as '0' | 'M' | 'VM');
  expect([...src]).toEqual([collectedWord[after]]);
  expect([...dst]).toEqual([0]);
  expect(cpages).toBe(after === '0' ? 0 : 1);
  if (after === 'VM') {
    expect(lab.bitsAt(va) & (PTE_KIND | PTE_WRITE)).toBe(PTE_MIGRATION | (bits & PTE_WRITE));
    expect(lab.pageAt(va)).toBe(page);
    expect(pages.isLocked(page)).toBe(true);
    // The mapping's reference went, the migration's came.
    expect(lab.counts(page)).toEqual([countsBefore[0], 0]);
  } else {
    // The dirty bit stands on the page once an entry was restored.
    const kept = cell === HELD ? ~PTE_DIRTY : ~0;
    expect(lab.bitsAt(va) & kept).toBe(bits & kept);
    expect(lab.machine.pageAt(lab.proc, va) ?? NO_PAGE).toBe(page);
    expect(lab.counts(page)).toEqual(countsBefore);
    expect(pages.isLocked(page)).toBe(wasLocked);
  }

  if (isRefused) lab.proc.mm.mmapLock.unlockRead();
  else lab.giveUp(migration);
  expect([...src]).toEqual([after === 'VM' ? (taken | lock) & ~MIGRATE_PFN_MIGRATE : 0]);
  expect(lab.bitsAt(va) & ~PTE_DIRTY).toBe(bits & ~PTE_DIRTY);
  expect(lab.counts(page)).toEqual(countsBefore);
  clean?.();
  expect(lab.machine.verify({ full: true })).toEqual([]);
}

describe.each(Object.entries(ENTRIES))('%s', (name, entry) => {
  const cells = ROWS[name as EntryName];

  it('has a cell in every column', () => {
    expect(cells).toHaveLength(COLUMNS.length);
  });

  const columns = COLUMNS.map((column, i) => ({ ...column, cell: cells[i]! }));
  it.each(columns)('$era, $asks: $cell', (column) => {
    const { cell, era } = column;
    if (cell !== 'n/a') checkCell(column, entry, cell);
    else {
      const notInThisEra: Partial<SimError> = { code: 'not-in-this-era' };
      expect(() => entry(new MigrationLab(era))).toThrow(expect.objectContaining(notInThisEra));
    }
  });
});

describe('columns compose', () => {
  it.each(Object.entries(ROWS))('S|P is S and P together: %s', (_name, cells) => {
    for (const first of [3, 8]) {
      const [system, priv, , , both] = cells.slice(first, first + 5);
      expect(both).toBe(system === '0' ? priv : system);
    }
  });

  it('a hole asks for a page even where no flag is set, in every era', () => {
    for (const era of ['v5.6', 'v5.7', 'v5.10', 'v6.1'] as const) {
      const lab = new MigrationLab(era);
      const va = lab.proc.mmap({ pages: 3 });
      const migration = lab.setup(va, 3, { flags: 0, owner: lab.x });
      expect([...migration.args.src]).toEqual([2, 2, 2]);
      expect([...migration.args.src].every((word) => (word & MIGRATE_PFN_VALID) === 0)).toBe(true);
      lab.giveUp(migration);
      expect(lab.machine.verify()).toEqual([]);
    }
  });
});

describe('entries that are not emulated', () => {
  it.todo('KSM page: needs same-page merging');
  it.todo('THP pmd: needs huge pages');
  it.todo('huge zero pmd: needs huge pages');
  it.todo('PTE-mapped page of a compound page: needs huge pages');
  it.todo('swap entry: needs swap');
  it.todo('hwpoison entry, pte marker, swapin error: needs poisoned memory and swap');
});
