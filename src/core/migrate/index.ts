/** Migration between RAM and device memory: the calls a driver makes. */
export {
  migrateDeviceCoherentPage,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
} from './device-range.ts';
export {
  MigrateVma,
  type MigrateVmaOptions,
  migrateVmaFinalize,
  migrateVmaFinalizeTask,
  migrateVmaPages,
  migrateVmaSetup,
} from './migrate-vma.ts';
export { countMigrated, countMovedPages } from './outcome.ts';
export * from './words.ts';
