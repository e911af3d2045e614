/** Migration between RAM and device memory: the calls a driver makes. */
export {
  migrateDeviceCoherentPage,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
} from './device-range.ts';
export {
  countMigrated,
  countMovedPages,
  MigrateVma,
  type MigrateVmaOptions,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from './migrate-vma.ts';
export * from './words.ts';
