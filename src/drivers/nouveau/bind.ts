/** DRM_NOUVEAU_SVM_BIND: which pages shall lie where. Reference: nouveau_svmm_bind of Linux 6.1. */
import { EINVAL } from '../../core/errno.ts';
import type { Task } from '../../core/sched/task.ts';
import type { Va } from '../../core/units.ts';
import type { Nouveau } from './device.ts';
import { migrateVma } from './migrate.ts';
import type { Svmm } from './svmm.ts';

/** The only command there is. */
export const NOUVEAU_SVM_BIND_COMMAND__MIGRATE = 0;
/** The only target that is supported. */
export const NOUVEAU_SVM_BIND_TARGET__GPU_VRAM: number = 2 ** 31;

const COMMAND_VALUES = 2 ** 8;
const PRIORITY_VALUES = 2 ** 8;
const TARGET_VALUES = 2 ** 32;
const TARGET_SHIFT = 16;
/** NOUVEAU_SVM_BIND_VALID_BITS. */
const VALID_BITS = 48;

/** struct drm_nouveau_svm_bind, without what the kernel does not look at. */
export interface SvmBind {
  /** Command in bits 0 to 7, priority in 8 to 15 (unused), target in 16 to 47; see `bindHeader`. */
  readonly header: number;
  /** First byte; rounded down to a page. */
  readonly vaStart: Va;
  /** First byte after the range; rounded up to a page. */
  readonly vaEnd: Va;
  /** 0, or the call is refused. */
  readonly stride?: number;
  readonly reserved0?: number;
  readonly reserved1?: number;
  /** Written by a call that is not refused: always 0, whatever moved. */
  result?: number;
}

/** The header of a call. `priority` 0 to 255, without effect. */
export function bindHeader(
  command: number = NOUVEAU_SVM_BIND_COMMAND__MIGRATE,
  target: number = NOUVEAU_SVM_BIND_TARGET__GPU_VRAM,
  priority = 0,
): number {
  return command + priority * COMMAND_VALUES + target * 2 ** TARGET_SHIFT;
}

/**
 * Moves what it can of the range to VRAM, VMA by VMA; gaps are passed over, and what a VMA answers
 * is of no concern: `result` becomes 0 all the same. Returns 0, or -EINVAL for anything that is not
 * that one command, and for a client without an address space.
 */
export function* svmBind(
  device: Nouveau,
  svmm: Svmm | null,
  alive: boolean,
  args: SvmBind,
): Task<number> {
  const { pageSize } = device.kernel;
  const start = Math.floor(args.vaStart / pageSize) * pageSize;
  const end = Math.ceil(args.vaEnd / pageSize) * pageSize;
  const { stride = 0, reserved0 = 0, reserved1 = 0, header } = args;
  if (reserved0 !== 0 || reserved1 !== 0) return -EINVAL;
  if (header >= 2 ** VALID_BITS) return -EINVAL;
  if (start >= end) return -EINVAL;
  if (header % COMMAND_VALUES !== NOUVEAU_SVM_BIND_COMMAND__MIGRATE) return -EINVAL;
  const target = Math.floor(header / (COMMAND_VALUES * PRIORITY_VALUES)) % TARGET_VALUES;
  if (target !== NOUVEAU_SVM_BIND_TARGET__GPU_VRAM) return -EINVAL;
  if (stride !== 0) return -EINVAL;
  if (!alive) return -EINVAL;
  if (svmm === null) return -EINVAL;
  const { mm } = svmm;
  if (!mm.mmapLock.tryRead()) yield* mm.mmapLock.read();
  try {
    for (let addr = start; addr < end; ) {
      const vma = mm.vmas.firstEndingAfter(addr);
      if (vma === null || vma.start >= end) break;
      addr = Math.max(addr, vma.start);
      const next = Math.min(vma.end, end);
      // What it answers is dropped.
      yield* migrateVma(device, svmm, vma, addr, next);
      addr = next;
    }
    args.result = 0;
  } finally {
    mm.mmapLock.unlockRead();
  }
  return 0;
}
