/** pgmaplab: page migration, bare, with owners chosen by the caller. */
export { type EvictResult, Pgmaplab } from './device.ts';
export {
  CALL_PAGES_MAX,
  HELD_MAX,
  type HeldPage,
  LabFile,
  type LabMigrateOptions,
  type LabMigrateResult,
  type LabPinResult,
  type LabPlace,
  type LabWhereResult,
  type LabWord,
} from './file.ts';
export type { Destination } from './give.ts';
export { LAB_PAGES, Lab, type LabMode } from './lab.ts';
export { pgmaplabFactory } from './operations.ts';
