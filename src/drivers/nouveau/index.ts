/** nouveau: the kernel's driver for NVIDIA GPUs with shared virtual memory, one `Nouveau` a GPU. */
export {
  bindHeader,
  NOUVEAU_SVM_BIND_COMMAND__MIGRATE,
  NOUVEAU_SVM_BIND_TARGET__GPU_VRAM,
  type SvmBind,
} from './bind.ts';
export { NOUVEAU_DEFECTS, type NouveauDefect } from './defects.ts';
export { Nouveau, type NouveauOptions } from './device.ts';
export { DMEM_CHUNK_BYTES } from './dmem.ts';
export { type Execution, NouveauFile, type SvmInit } from './file.ts';
export { nouveauFactory } from './operations.ts';
export type { StaleMapping } from './stale.ts';
