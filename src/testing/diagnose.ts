/** Listens to a machine, so that a failed case can say what the driver did wrong. */
import type { InvalidateCallEvent, MigrateEvent, TrespassEvent } from '../core/events/types.ts';
import type { Machine } from '../core/machine.ts';
import type { Owner } from '../core/pagemap/pagemap.ts';

/** What the driver did about one CPU fault. */
interface Attempt {
  migrations: number;
  collected: boolean;
  selected: number;
  migrated: number;
  /** A page of RAM was named in `dst`, and was given up in finalize. */
  gaveUpRam: boolean;
}

const NOTHING: Attempt = {
  migrations: 0,
  collected: false,
  selected: 0,
  migrated: 0,
  gaveUpRam: false,
};

const NOTIFY_NAMES: Readonly<Record<string, string>> = {
  migrate: 'MIGRATE',
  clear: 'CLEAR',
  unmap: 'UNMAP',
  protection_vma: 'PROTECTION_VMA',
  protection_page: 'PROTECTION_PAGE',
  exclusive: 'EXCLUSIVE',
  release: 'RELEASE',
  soft_dirty: 'SOFT_DIRTY',
};

export class Diagnosis {
  readonly #owner: Owner;
  readonly #stranger: Owner;
  readonly #hasFaultPage: boolean;
  #attempt: Attempt = { ...NOTHING };
  #broken: string | null = null;
  /** In whose name migrations began, oldest first, those of CPU faults apart. */
  readonly migrations: MigrateEvent[] = [];
  /** Device pages that were freed. */
  readonly freed: number[] = [];

  /** @param stranger the driver that is not under test */
  constructor({ events, era }: Machine, owner: Owner, stranger: Owner) {
    this.#hasFaultPage = era.faultPage;
    this.#owner = owner;
    this.#stranger = stranger;
    events.on('cpu_fault', ({ phase }) => {
      if (phase === 'begin') this.#attempt = { ...NOTHING };
    });
    events.on('migrate', (event) => this.#migrate(event));
    events.on('migrate_phase', ({ step, phase }) => {
      if (step === 'unmap' && phase === 'begin') this.#attempt.collected = true;
    });
    events.on('invalidate_call', (event) => this.#notified(event));
    events.on('trespass', (event) => this.#trespassed(event));
    events.on('page_free', ({ page, pagemap }) => {
      if (pagemap === null) this.#attempt.gaveUpRam = true;
      else this.freed.push(page);
    });
  }

  /** The first rule that the driver broke since the last call, or null. */
  takeBroken(): string | null {
    const broken = this.#broken;
    this.#broken = null;
    return broken;
  }

  /** Why the CPU faults on a page again and again. */
  explainRefaults(): string {
    const { migrations, collected, selected, migrated, gaveUpRam } = this.#attempt;
    const loops = 'the CPU faults on a device page for ever: migrate_to_ram';
    if (migrations === 0) return `${loops} returns 0, but migrates nothing`;
    if (!collected) {
      return (
        `${loops} collects nothing; pgmap_owner must be the owner of the pagemap, and flags ` +
        'MIGRATE_VMA_SELECT_DEVICE_PRIVATE'
      );
    }
    if (selected === 0) return `${loops} gives the page up: something else holds a reference`;
    if (migrated === 0 && gaveUpRam) {
      return this.#hasFaultPage
        ? 'the driver forgets fault_page (migrate_vma.fault_page, since v6.1): the reference ' +
            'that the CPU fault holds keeps the page from moving, and the CPU faults for ever'
        : `${loops} sets fault_page, which this era does not have (since v6.1)`;
    }
    if (migrated === 0) return `${loops} names no page of RAM in dst`;
    return `${loops} brings another page home than the one that was touched`;
  }

  #migrate(event: MigrateEvent): void {
    if (event.phase === 'begin') {
      this.#attempt.migrations++;
      this.migrations.push(event);
      return;
    }
    this.#attempt.selected = event.selected;
    this.#attempt.migrated = event.migrated;
  }

  /** A driver may let pass what it does itself, and nothing else. */
  #notified({ event, owner, ignored, notifier }: InvalidateCallEvent): void {
    if (!ignored || notifier === this.#stranger.name) return;
    const own = (event === 'migrate' || event === 'exclusive') && owner === this.#owner;
    if (own) return;
    const name = NOTIFY_NAMES[event] ?? event;
    const article = /^[EU]/.test(name) ? 'an' : 'a';
    const whose = event === 'migrate' ? `a foreign ${name}` : `${article} ${name}`;
    this.#broken ??=
      `the driver ignores ${whose} notification: invalidate must call mmu_interval_set_seq and ` +
      'drop what the device has mapped there; only a MIGRATE by its own owner may pass';
  }

  #trespassed({ by, what, owner }: TrespassEvent): void {
    if (by === this.#stranger.name) return;
    const deed = what === 'migrate' ? 'migrates' : `${what}s`;
    this.#broken ??=
      owner === this.#stranger
        ? `the driver ${deed} device memory of another owner, ${owner.name}`
        : wrongOwner(owner, this.#owner);
  }
}

/** Memory of the driver itself that belongs to somebody else. */
export function wrongOwner(found: Owner, wanted: Owner): string {
  return (
    `the driver's device memory belongs to the owner "${found.name}", which is not the driver's ` +
    `own "${wanted.name}": owners are objects, compared by identity, and dev_pagemap.owner must ` +
    'be the one that migrate_vma is called with'
  );
}
