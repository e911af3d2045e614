/** Migration between RAM and device memory: the calls a driver makes. */
export {
  migrateDeviceCoherentPage,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
} from './device-range.ts';
export { type FaultWords, FaultWordsPool } from './fault-words.ts';
export {
  MigrateVma,
  type MigrateVmaOptions,
  migrateVmaFinalize,
  migrateVmaFinalizeStep,
  migrateVmaFinalizeTask,
  migrateVmaPages,
  migrateVmaPagesStep,
  migrateVmaSetup,
  migrateVmaSetupStep,
} from './migrate-vma.ts';
export { countMigrated, countMovedPages } from './outcome.ts';
export * from './words.ts';
