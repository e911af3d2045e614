/** What the units of a GPU do with memory, and what that needs in a page table entry. */
import { SimError } from '../core/errors.ts';
import type { Va } from '../core/units.ts';
import {
  FAULT_ACCESS_ATOMIC,
  FAULT_ACCESS_PREFETCH,
  FAULT_ACCESS_READ,
  FAULT_ACCESS_WRITE,
  FAULT_ATOMIC_VIOLATION,
  FAULT_PTE,
  FAULT_RO_VIOLATION,
  type FaultAccess,
} from './fault-buffer.ts';
import {
  GPU_PTE_ATOMIC,
  GPU_PTE_VALID,
  GPU_PTE_WRITE,
  type GpuPageTable,
} from './gpu-page-table.ts';

export type GpuAccessKind = 'read' | 'write' | 'atomic' | 'prefetch';

/** One access of 32 bits. */
export interface GpuAccess {
  readonly kind: GpuAccessKind;
  /** A multiple of 4. */
  readonly va: Va;
  /** `write` stores its low 32 bits, `atomic` adds them modulo 2^32; 0 unless given. */
  readonly value?: number;
  /** Bytes around it that the units move, which is of use for time only; 32 unless given. */
  readonly bytes?: number;
}

/** A sector: the least that a unit asks memory for. */
export const GPU_ACCESS_BYTES = 32;

/** The value read, the old value for an atomic, 0 for a write or prefetch, or GPU_CANCELLED. */
export type GpuResult = number;

/** The channel died before the access was done. */
export const GPU_CANCELLED = -1;

/** GPU_PTE_* bits an access needs. */
export function neededFlags(kind: GpuAccessKind): number {
  switch (kind) {
    case 'write':
      return GPU_PTE_VALID | GPU_PTE_WRITE;
    case 'atomic':
      return GPU_PTE_VALID | GPU_PTE_WRITE | GPU_PTE_ATOMIC;
    default:
      return GPU_PTE_VALID;
  }
}

const ACCESS_OF_CODE: readonly GpuAccessKind[] = ['read', 'write', 'atomic', 'prefetch'];

/** The access field of a fault entry. */
export function faultAccess(kind: GpuAccessKind): FaultAccess {
  switch (kind) {
    case 'read':
      return FAULT_ACCESS_READ;
    case 'write':
      return FAULT_ACCESS_WRITE;
    case 'atomic':
      return FAULT_ACCESS_ATOMIC;
    case 'prefetch':
      return FAULT_ACCESS_PREFETCH;
  }
}

/** The access that a fault entry reports. */
export function accessOfFault(code: FaultAccess): GpuAccessKind {
  return ACCESS_OF_CODE[code]!;
}

/** Why `pageTable` refuses the access: the fault field of a fault entry. */
export function faultReason(pageTable: GpuPageTable, vpn: number): number {
  const entry = pageTable.entry(vpn);
  if (entry === null) return FAULT_PTE;
  return (entry.flags & GPU_PTE_WRITE) === 0 ? FAULT_RO_VIOLATION : FAULT_ATOMIC_VIOLATION;
}

/** @throws SimError `bad-argument` where an address is none or not a multiple of 4 */
export function checkAccesses(name: string, accesses: readonly GpuAccess[]): void {
  for (const { kind, va } of accesses) {
    if (Number.isSafeInteger(va) && va >= 0 && va % 4 === 0) continue;
    throw new SimError('bad-argument', `${name}: ${kind} of ${va}; expected a multiple of 4`);
  }
}
