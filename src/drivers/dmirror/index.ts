/** dmirror: the kernel's HMM test device (lib/test_hmm.c), one `Dmirror` a device node. */
export { DMIRROR_DEFECTS, type DmirrorDefect } from './defects.ts';
export { DEVMEM_CHUNK_BYTES, Dmirror, type DmirrorOptions } from './device.ts';
export type { NodeMapping } from './device-node.ts';
export {
  type DmirrorData,
  DmirrorFile,
  type DmirrorResult,
  type DmirrorSnapshot,
} from './file.ts';
export { dmirrorFactory } from './operations.ts';
export type { MirrorAccess, MirrorEntry } from './page-table.ts';
export {
  HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL,
  HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE,
  HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL,
  HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE,
  HMM_DMIRROR_PROT_ERROR,
  HMM_DMIRROR_PROT_NONE,
  HMM_DMIRROR_PROT_READ,
  HMM_DMIRROR_PROT_WRITE,
  HMM_DMIRROR_PROT_ZERO,
} from './snapshot.ts';
