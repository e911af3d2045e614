/**
 * What migrate_vma and its neighbours do changed over the years. A machine is made for one era, and
 * the code asks the era's table instead of testing versions.
 *
 * Each rule names the release, and where there is one the commit, that changed it.
 */
import { SimError } from './errors.ts';

export type EraName = 'v5.6' | 'v5.7' | 'v5.10' | 'v6.1' | 'v6.12';

/** How migrate_vma's collect step chooses pages. */
export type SelectionRule =
  /** Whatever device page is found, whoever owns it (until v5.6). */
  | 'any-owner'
  /** `src_owner`: that owner's device pages, or without it ordinary pages (v5.7, 800bb1c8dc80). */
  | 'src-owner'
  /** `flags` say which kinds, `pgmap_owner` whose (v5.9, 5143192cd410). */
  | 'flags';

/** What a CPU fault on a device page does about the page's lock before it calls the driver. */
export type DeviceFaultLock = 'none' | 'trylock' | 'wait';

export interface Era {
  readonly name: EraName;
  readonly selection: SelectionRule;
  /** hmm_range_fault reports device pages of its caller only (v5.7, 08ddddda667b). */
  readonly hmmChecksOwner: boolean;
  /** MMU_NOTIFY_MIGRATE with an owner instead of MMU_NOTIFY_CLEAR without (v5.9, 998427b3ad2c). */
  readonly migrateEvent: boolean;
  /** Holes of file mappings are collected too (until v5.8). */
  readonly collectsFileHoles: boolean;
  /** A page whose lock is taken is dropped in collect; before, a prepare step tried again (v5.16). */
  readonly dropsLockedInCollect: boolean;
  /** Anonymous pages know whether they are exclusive to one process: PG_anon_exclusive (v5.19). */
  readonly anonExclusive: boolean;
  /** Collect passes the dirty bit of an entry on to the page (v6.1). */
  readonly collectKeepsDirty: boolean;
  /** Device-coherent pages and MIGRATE_VMA_SELECT_DEVICE_COHERENT exist (v6.0). */
  readonly deviceCoherent: boolean;
  /** `migrate_vma.fault_page`, and a CPU fault holds a reference meanwhile (v6.1, 16ce101db85d). */
  readonly faultPage: boolean;
  /** Reference count of a device page on its driver's free list (0 since v6.1, before 1). */
  readonly freeDevicePageRefs: 0 | 1;
  /** migrate_device_range exists (v6.1, e778406b40db). */
  readonly migrateDeviceRange: boolean;
  /** make_device_exclusive_range exists (v5.14). */
  readonly deviceExclusive: boolean;
  /** hmm_range_fault brings another owner's page home instead of answering -EFAULT (v5.19). */
  readonly hmmFaultsForeign: boolean;
  /** TLBs are flushed before the lock on the entries is given back (v6.1). */
  readonly flushesTlbUnderLock: boolean;
  /**
   * What a CPU that faults on a device page does about its lock: nothing; tries to take it and
   * faults again where that fails (v6.15, 1afaeb8293c9); or waits until it is free (v7.0).
   */
  readonly dpFaultLock: DeviceFaultLock;
  /** mprotect gives write permission back to clean exclusive pages too (v6.2). */
  readonly upgradesCleanPages: boolean;
}

const V5_6: Era = Object.freeze<Era>({
  name: 'v5.6',
  selection: 'any-owner',
  hmmChecksOwner: false,
  migrateEvent: false,
  collectsFileHoles: true,
  dropsLockedInCollect: false,
  anonExclusive: false,
  collectKeepsDirty: false,
  deviceCoherent: false,
  faultPage: false,
  freeDevicePageRefs: 1,
  migrateDeviceRange: false,
  deviceExclusive: false,
  hmmFaultsForeign: false,
  flushesTlbUnderLock: false,
  dpFaultLock: 'none',
  upgradesCleanPages: false,
});
const V5_7: Era = Object.freeze<Era>({
  ...V5_6,
  name: 'v5.7',
  selection: 'src-owner',
  hmmChecksOwner: true,
});
const V5_10: Era = Object.freeze<Era>({
  ...V5_7,
  name: 'v5.10',
  selection: 'flags',
  migrateEvent: true,
  collectsFileHoles: false,
});
const V6_1: Era = Object.freeze<Era>({
  ...V5_10,
  name: 'v6.1',
  dropsLockedInCollect: true,
  anonExclusive: true,
  collectKeepsDirty: true,
  deviceCoherent: true,
  faultPage: true,
  freeDevicePageRefs: 0,
  migrateDeviceRange: true,
  deviceExclusive: true,
  hmmFaultsForeign: true,
  flushesTlbUnderLock: true,
});
const V6_12: Era = Object.freeze<Era>({ ...V6_1, name: 'v6.12', upgradesCleanPages: true });

/** All eras, oldest first. */
export const ERAS: readonly Era[] = Object.freeze([V5_6, V5_7, V5_10, V6_1, V6_12]);

export const DEFAULT_ERA: EraName = 'v6.1';

/** The table of an era. Throws a `SimError` (`unknown-era`) for a name that is none. */
export function eraNamed(name: string): Era {
  const era = ERAS.find((candidate) => candidate.name === name);
  if (era === undefined) {
    const names = ERAS.map((known) => known.name).join(', ');
    throw new SimError('unknown-era', `unknown era ${name}; expected one of ${names}`);
  }
  return era;
}

// --- What changed, in words -------------------------------------------------------------------

export type EraRuleKey = Exclude<keyof Era, 'name'>;

/** One change of one rule. */
export interface EraRule {
  readonly key: EraRuleKey;
  /** What the rule is from then on. */
  readonly value: Era[EraRuleKey];
  /** What the kernel does from then on, in one line. */
  readonly summary: string;
  /** The release that brought it. */
  readonly since: string;
  /** The change itself, where one commit made it. */
  readonly commit?: string;
}

/** Every change between the oldest era and the newest, oldest first. */
export const ERA_RULES: readonly EraRule[] = Object.freeze<EraRule[]>([
  {
    key: 'selection',
    value: 'src-owner',
    summary: 'migrate_vma takes only device pages of src_owner, or without one only ordinary pages',
    since: 'v5.7',
    commit: '800bb1c8dc80',
  },
  {
    key: 'hmmChecksOwner',
    value: true,
    summary: "hmm_range_fault reports device pages of dev_private_owner only, not everybody's",
    since: 'v5.7',
    commit: '08ddddda667b',
  },
  {
    key: 'selection',
    value: 'flags',
    summary:
      'migrate_vma takes the kinds of pages that flags name, device pages of pgmap_owner only',
    since: 'v5.9',
    commit: '5143192cd410',
  },
  {
    key: 'migrateEvent',
    value: true,
    summary: 'a migration tells notifiers MMU_NOTIFY_MIGRATE and its owner, who may ignore it',
    since: 'v5.9',
    commit: '998427b3ad2c',
  },
  {
    key: 'collectsFileHoles',
    value: false,
    summary: 'migrate_vma leaves the holes of file mappings alone',
    since: 'v5.9',
  },
  {
    key: 'deviceExclusive',
    value: true,
    summary: 'a device can take pages for itself alone (make_device_exclusive_range)',
    since: 'v5.14',
    commit: 'b756a3b5e7ea',
  },
  {
    key: 'dropsLockedInCollect',
    value: true,
    summary:
      'migrate_vma drops a page that is locked at once, and refuses device pages that are held',
    since: 'v5.16',
    commit: 'ab09243aa95a',
  },
  {
    key: 'anonExclusive',
    value: true,
    summary: 'an anonymous page knows whether it is exclusive to one process (PG_anon_exclusive)',
    since: 'v5.19',
    commit: '6c287605fd56',
  },
  {
    key: 'hmmFaultsForeign',
    value: true,
    summary: "hmm_range_fault brings another owner's device page home instead of failing",
    since: 'v5.19',
    commit: '8a295dbbaf72',
  },
  {
    key: 'deviceCoherent',
    value: true,
    summary: 'device-coherent memory exists, with MIGRATE_VMA_SELECT_DEVICE_COHERENT',
    since: 'v6.0',
    commit: 'f25cbb7a95a2',
  },
  {
    key: 'flushesTlbUnderLock',
    value: true,
    summary: 'migrate_vma flushes TLBs before it gives back the lock on the entries it took',
    since: 'v6.1',
    commit: '60bae7370896',
  },
  {
    key: 'collectKeepsDirty',
    value: true,
    summary: 'migrate_vma passes the dirty bit of an entry on to the page',
    since: 'v6.1',
    commit: 'fd35ca3d12cc',
  },
  {
    key: 'faultPage',
    value: true,
    summary: 'a CPU fault holds the device page, and migrate_vma allows for it (fault_page)',
    since: 'v6.1',
    commit: '16ce101db85d',
  },
  {
    key: 'freeDevicePageRefs',
    value: 0,
    summary: 'a free device page has no reference, so one in use has one less',
    since: 'v6.1',
    commit: 'ef233450898f',
  },
  {
    key: 'migrateDeviceRange',
    value: true,
    summary: 'a driver can move pages without knowing who maps them (migrate_device_range)',
    since: 'v6.1',
    commit: 'e778406b40db',
  },
  {
    key: 'upgradesCleanPages',
    value: true,
    summary: 'mprotect gives write permission back to clean exclusive pages too',
    since: 'v6.2',
  },
]);
