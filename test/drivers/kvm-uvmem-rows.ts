// Rows of the tables of hypercalls, and how each is checked.
import { expect, it } from 'vitest';
import type { Machine } from '../../src/core/machine.ts';
import { FOLL_GET, getUserPagesFast } from '../../src/core/mm/gup.ts';
import type { Page } from '../../src/core/units.ts';
import type { HcallSource } from '../../src/drivers/kvm-uvmem/index.ts';
import { hcallResultName } from '../../src/hw/svm-codes.ts';
import { type LabOptions, UvmemLab } from './kvm-uvmem-lab.ts';

export const SHIFT = 16;
export const WRONG_SHIFT = 12;
/** The bits that are not H_PAGE_IN_SHARED. */
export const WRONG_FLAGS = 2;
export const NO_GFN = 1000;

export interface Row {
  readonly when: string;
  readonly lab?: () => UvmemLab;
  readonly call: (lab: UvmemLab) => number;
  readonly code: string;
  /** secure_guest afterwards: 1 INIT_START, 2 INIT_DONE. */
  readonly secureGuest?: number;
  readonly states?: string;
  /** Whether migrate_vma was begun. */
  readonly migrates?: boolean;
  readonly after?: (lab: UvmemLab) => void;
}

export function inStart(options: LabOptions = {}): UvmemLab {
  const lab = new UvmemLab(options);
  lab.fill();
  expect(hcallResultName(lab.vm.svmInitStart())).toBe('H_SUCCESS');
  return lab;
}

export function page(
  call: number,
  gfn: number,
  flags = 0,
  shift: number = SHIFT,
  from: HcallSource = 'ultravisor',
): (lab: UvmemLab) => number {
  return ({ vm, pageSize }) => vm.hcall(call, [gfn * pageSize, flags, shift], from);
}

export function pin(machine: Machine, lab: UvmemLab, at: number): Page {
  const found = machine.run(getUserPagesFast(lab.proc.mm, lab.at(at), 1, FOLL_GET));
  if (typeof found === 'number') throw new Error('nothing to pin');
  return found[0]!;
}

export function check(rows: readonly Row[]): void {
  it.each(rows)('$code: $when', (row) => {
    const lab = (row.lab ?? (() => new UvmemLab()))();
    let migrations = 0;
    const { events } = lab.machine;
    events.on('migrate', () => migrations++);
    expect(hcallResultName(row.call(lab))).toBe(row.code);
    events.removeAllListeners();
    if (row.secureGuest !== undefined) expect(lab.vm.secureGuest).toBe(row.secureGuest);
    if (row.states !== undefined) expect(lab.states()).toBe(row.states);
    if (row.migrates !== undefined) expect(migrations > 0).toBe(row.migrates);
    row.after?.(lab);
    lab.check();
  });
}
