/**
 * nouveau: a GPU that shares address spaces and has memory of its own, after the kernel's driver
 * for NVIDIA GPUs.
 *
 * Reference: nouveau_dmem.c and nouveau_svm.c (drivers/gpu/drm/nouveau) of Linux 6.1, with what
 * earlier kernels did otherwise where the machine's era says so. Two things of old kernels are not
 * here: until v5.7 a fault was served together with up to 15 pages behind it, and until v5.7 a
 * chunk that was full hung the machine.
 */
import type { Driver } from '../../core/driver.ts';
import { ENODEV } from '../../core/errno.ts';
import { SimError } from '../../core/errors.ts';
import { userCall } from '../../core/events/call.ts';
import type { Kernel } from '../../core/kernel.ts';
import type { Machine } from '../../core/machine.ts';
import { FaultWordsPool } from '../../core/migrate/index.ts';
import type { Mm } from '../../core/mm/mm.ts';
import type { Owner } from '../../core/pagemap/pagemap.ts';
import type { Process } from '../../core/process.ts';
import { type MaybeTask, settle, type Task } from '../../core/sched/task.ts';
import type { StateHash } from '../../core/state-hash.ts';
import { MiB, type Page, type Va } from '../../core/units.ts';
import type { CopyEngine } from '../../hw/copy-engine.ts';
import type { DeviceTime } from '../../hw/device-time.ts';
import { Failures } from '../../hw/failures.ts';
import type { Gpu } from '../../hw/gpu.ts';
import {
  GPU_PTE_ATOMIC,
  GPU_PTE_VALID,
  GPU_PTE_WRITE,
  type GpuPte,
} from '../../hw/gpu-page-table.ts';
import type { NouveauDefect } from './defects.ts';
import type { Dmem } from './dmem.ts';
import { DmaMappings } from './failures.ts';
import { NouveauFile } from './file.ts';
import type { HomeParts } from './migrate.ts';
import { Parts } from './parts.ts';
import type { Remains } from './remains.ts';
import type { NouveauRules } from './rules.ts';
import { type StaleMapping, staleMappings } from './stale.ts';
import type { Channel, Svm } from './svm.ts';
import type { Svmm } from './svmm.ts';

export interface NouveauOptions {
  /** For people; by default nouveau0, nouveau1, … in the order of attaching. */
  readonly name?: string;
  /** Memory of the GPU in bytes; 16 MiB by default. What is left of whole chunks is of no use. */
  readonly vramBytes?: number;
  /** Entries of the hardware's fault buffer, at least 2; 64 by default. */
  readonly faultEntries?: number;
  /** Virtual time that the copy of a page takes, in nanoseconds; 0 by default. */
  readonly copyLatencyNs?: number;
  /** False: newer than Pascal, where nouveau leaves shared virtual memory off. True by default. */
  readonly svm?: boolean;
  /** False: no copy engine that nouveau could migrate with. True by default. */
  readonly dmem?: boolean;
  /**
   * False, the default: as the kernel has it, faults included. True: with the faults mended that
   * lose data or kill the innocent; see `Nouveau.mended`.
   */
  readonly mended?: boolean;
  /** Faults to have that 6.1 has no more; none by default. */
  readonly defects?: readonly NouveauDefect[];
}

/**
 * struct nouveau_drm: one GPU. It is the owner of its pages, whichever process uses it.
 *
 *     const gpu = machine.attach(new Nouveau({ vramBytes: 16 * MiB }));
 *     const file = gpu.open(process);
 *     file.svmBind(buffer, 8 * PAGE_SIZE);                   // 0: moved to VRAM
 *     file.execute([{ kind: 'read', va: buffer }]);          // the GPU reads it
 */
export class Nouveau implements Driver, Owner {
  readonly vramBytes: number;
  /**
   * Mended are: a page whose copy home failed keeps its place instead of leaving a dangling entry;
   * the GPU maps only what did move; an atomic access is no order for the faults behind it; atomics
   * and writes bring home a page they need writable; the notifier lets no migration pass, so no
   * other process and no other client of this GPU keeps a mapping of what moved.
   */
  readonly mended: boolean;
  readonly defects: ReadonlySet<NouveauDefect>;
  readonly #options: NouveauOptions;
  #name: string;
  #parts: Parts | null = null;
  /** Open files, oldest first. */
  readonly #files: Set<NouveauFile> = new Set();
  /** By the number that pages carry. */
  readonly #svmms: Map<number, Svmm> = new Map();
  #nextSvmmId = 1;
  #suspended = false;
  #removed = false;
  readonly #allocations: Failures = new Failures('no allocation');
  readonly #pins: Failures = new Failures('no pin');
  /** For CPU faults. */
  readonly faultWords: FaultWordsPool = new FaultWordsPool();
  /** What migrations have mapped for the copy engine. */
  readonly dma: DmaMappings = new DmaMappings();
  readonly #warnings: string[] = [];

  constructor(options: NouveauOptions = {}) {
    this.#options = options;
    this.vramBytes = options.vramBytes ?? 16 * MiB;
    this.mended = options.mended ?? false;
    this.defects = new Set(options.defects);
    this.#name = options.name ?? '';
  }

  // What it is made of -----------------------------------------------------------------------

  get name(): string {
    return this.#name;
  }

  get machine(): Machine {
    return this.#made.machine;
  }

  get kernel(): Kernel {
    return this.machine.kernel;
  }

  get rules(): NouveauRules {
    return this.#made.rules;
  }

  /** The hardware. */
  get gpu(): Gpu {
    return this.#made.gpu;
  }

  get engine(): CopyEngine {
    return this.#made.engine;
  }

  /** How long what it does takes; null where no time passes. */
  get time(): DeviceTime | null {
    return this.#made.time;
  }

  /** Null where VRAM has no struct pages: an old GPU, or one that was removed. */
  get dmem(): Dmem | null {
    return this.#made.dmem;
  }

  /** Null where address spaces cannot be shared: a new GPU, or one that was removed. */
  get svm(): Svm | null {
    return this.#removed ? null : this.#made.svm;
  }

  /** What free pages of RAM hold; null for a GPU that does not need to know. */
  get remains(): Remains | null {
    return this.#made.remains;
  }

  /** For migrations home. */
  get home(): HomeParts {
    return this.#made.home;
  }

  /** GPU_PTE_* bits of a page that may be written. */
  get writeFlags(): number {
    return this.rules.atomics ? GPU_PTE_WRITE : GPU_PTE_WRITE | GPU_PTE_ATOMIC;
  }

  /** What the kernel would have put into its log with a WARN. */
  get warnings(): readonly string[] {
    return this.#warnings;
  }

  /** Files that are open now, oldest first. */
  get files(): readonly NouveauFile[] {
    return [...this.#files];
  }

  /** Device pages in use. */
  get pagesInUse(): number {
    return this.dmem?.pagesInUse ?? 0;
  }

  get removed(): boolean {
    return this.#removed;
  }

  get suspended(): boolean {
    return this.#suspended;
  }

  get #made(): Parts {
    if (this.#parts === null) {
      throw new SimError('bad-argument', 'this GPU is not attached to a machine');
    }
    return this.#parts;
  }

  // The machine ------------------------------------------------------------------------------

  /** nouveau_drm_device_init. The first chunk of VRAM comes with the first migration. */
  attach(machine: Machine): void {
    if (this.#parts !== null) {
      throw new SimError('bad-argument', `${this.#name} is attached to a machine already`);
    }
    if (!Number.isSafeInteger(this.vramBytes) || this.vramBytes < 0) {
      throw new SimError('bad-argument', `VRAM of ${this.vramBytes} bytes; expected 0 or more`);
    }
    if (this.#name === '') {
      let minor = machine.drivers.filter((one) => one instanceof Nouveau).length;
      while (machine.drivers.some(({ name }) => name === `nouveau${minor}`)) minor++;
      this.#name = `nouveau${minor}`;
    }
    this.#parts = new Parts(this, machine, this.#options);
  }

  /** Opens the GPU for `proc`, with its address space shared unless `svm` is false. */
  open(proc: Process, options: { readonly svm?: boolean } = {}): NouveauFile {
    const file = new NouveauFile(this, proc);
    this.#files.add(file);
    proc.openFiles.add(file);
    if (options.svm !== false && this.svm !== null) this.machine.run(file.svmInitTask());
    return file;
  }

  /** The file of `proc`, which is opened if it is not: for people in a hurry. */
  fileOf(proc: Process): NouveauFile {
    return this.files.find((file) => file.process === proc) ?? this.open(proc);
  }

  /** DRM_NOUVEAU_SVM_BIND for `proc`: moves what it can of `bytes` from `va` to VRAM. */
  svmBind(proc: Process, va: Va, bytes: number): number {
    return this.fileOf(proc).svmBind(va, bytes);
  }

  fingerprint(hash: StateHash): void {
    const { gpu, engine, dmem, svm, remains } = this.#made;
    hash.add((this.#suspended ? 1 : 0) | (this.#removed ? 2 : 0));
    hash.add(this.#made.users.count);
    for (const { svmm, closed } of this.#files) hash.add(closed ? -1 : (svmm?.id ?? 0));
    for (const part of [gpu, engine, dmem, svm, remains, this.dma]) part?.fingerprint(hash);
    this.#allocations.fingerprint(hash);
    this.#pins.fingerprint(hash);
  }

  /** How the GPU maps `va` of `proc`: "r", "rw", "rwa" (atomics too), or null. */
  mappingOf(proc: Process, va: Va): string | null {
    const entry = this.entryAt(proc, va);
    if (entry === null) return null;
    if ((entry.flags & GPU_PTE_WRITE) === 0) return 'r';
    return this.rules.atomics && (entry.flags & GPU_PTE_ATOMIC) !== 0 ? 'rwa' : 'rw';
  }

  /** The entry of the GPU's page table for `va` of `proc`, or null. */
  entryAt(proc: Process, va: Va): GpuPte | null {
    const vpn = Math.floor(va / this.kernel.pageSize);
    for (const file of this.#files) {
      const entry = file.process === proc ? (file.svmm?.vmm?.entry(vpn) ?? null) : null;
      if (entry !== null && (entry.flags & GPU_PTE_VALID) !== 0) return entry;
    }
    return null;
  }

  /** Entries of the GPU's page tables that should be gone; empty while drivers do their duty. */
  staleMappings(): StaleMapping[] {
    return this.files.flatMap(({ svmm }) => (svmm === null ? [] : staleMappings(svmm)));
  }

  // Power and removal ------------------------------------------------------------------------

  /**
   * Before the machine sleeps: 0, or -ENODEV. No page migrates: the contents of VRAM go to RAM as
   * those of buffer objects, and come back when the GPU wakes.
   */
  suspend(): number {
    return this.machine.run(this.suspendTask());
  }

  suspendTask(): Task<number> {
    return this.#told('suspend', this.#suspend());
  }

  /** 0, or -ENODEV. */
  resume(): number {
    return this.machine.run(this.resumeTask());
  }

  resumeTask(): Task<number> {
    return this.#told('resume', this.#resume());
  }

  /**
   * Takes the GPU away: nouveau_drm_device_fini. Every page comes home, of every process, then its
   * memory goes; calls answer -ENODEV from then on. Before v6.1 no page is brought home, and this
   * waits until the processes have freed all (the scheduler reports a deadlock if they cannot).
   */
  remove(): number {
    return this.machine.run(this.removeTask());
  }

  removeTask(): Task<number> {
    return this.#told('remove', this.#remove());
  }

  /**
   * A suspended GPU that somebody needs wakes up: pm_runtime_get_sync, which the kernel does for
   * calls. A CPU fault does not ask there whether the GPU sleeps; here it wakes it, too.
   */
  wake(): void {
    if (!this.#suspended) return;
    this.#suspended = false;
    this.dmem?.resume();
    this.#made.svm?.enable();
  }

  // Failures to order ------------------------------------------------------------------------

  /**
   * The `n`-th allocation of kernel memory from now (1 is the next) fails, once. Allocations are:
   * one for an SVM_INIT; for each VMA of a bind four arrays (three before v5.8), and one for each
   * chunk that is added to VRAM; and one for each fault by which a batch is longer than any before.
   * Removal is not counted: it asks until it gets.
   *
   * @throws SimError `bad-argument` unless `n` is a whole number from 1 on
   */
  failAllocationAfter(n: number): void {
    this.#allocations.after(n);
  }

  /**
   * The `n`-th page of RAM from now (1 is the next) that a migration maps for the copy engine, each
   * way and on removal too, cannot be mapped, once. A page that is only cleared needs no mapping.
   *
   * @throws SimError `bad-argument` unless `n` is a whole number from 1 on
   */
  failDmaMapAfter(n: number): void {
    this.dma.failures.after(n);
  }

  /**
   * The `n`-th time from now (1 is the next) that a chunk is pinned in VRAM fails, once: a chunk is
   * pinned when it is added, and each time the GPU wakes.
   *
   * @throws SimError `bad-argument` unless `n` is a whole number from 1 on
   */
  failPinAfter(n: number): void {
    this.#pins.after(n);
  }

  // For its parts ----------------------------------------------------------------------------

  /** An allocation of kernel memory. False: -ENOMEM. */
  allocates(): boolean {
    if (this.#allocations.attempt()) return false;
    const { faults } = this.kernel;
    return faults?.fails('driver_memory') !== true;
  }

  pinFails(): boolean {
    return this.#pins.attempt();
  }

  warn(message: string): void {
    this.#warnings.push(message);
  }

  /** The address space that migrated a device page here; null if it has gone since. */
  svmmOf(page: Page): Svmm | null {
    return this.#svmms.get(this.kernel.pages.driverDataOf(page)) ?? null;
  }

  takeSvmmId(): number {
    return this.#nextSvmmId++;
  }

  addSvmm(svmm: Svmm): void {
    this.#svmms.set(svmm.id, svmm);
  }

  /** A channel ends, and what runs on it. */
  *partChannel(channel: Channel): Task<void> {
    const { svm, gpu } = this.#made;
    if (svm !== null) yield* svm.part(channel.instance);
    // Hung up and revived at once, it is taken away by whoever comes first.
    if (gpu.hasInstance(channel.instance)) gpu.destroyInstance(channel.instance);
  }

  /** A file was closed. */
  forget(file: NouveauFile, svmm: Svmm | null): void {
    this.#files.delete(file);
    if (svmm !== null) this.#svmms.delete(svmm.id);
  }

  /** Runs a bind, which removal lets come to its end. */
  *whilePresent(bind: Task<number>): Task<number> {
    if (this.#removed) return -ENODEV;
    return yield* settle(this.whileInUse(() => bind));
  }

  /** Runs what needs the GPU awake to its end. */
  whileInUse(begin: () => MaybeTask<number>): MaybeTask<number> {
    this.wake();
    return this.#made.users.during(begin);
  }

  /** A call to this GPU, as a span of the event stream. */
  told<T>(
    name: string,
    range: { readonly mm: Mm | null; readonly start: Va; readonly end: Va },
    task: Task<T>,
    resultOf: (value: T) => number,
  ): Task<T> {
    return userCall(this.kernel, { actor: this.#name, name, ...range }, task, resultOf);
  }

  #told(name: string, task: Task<number>): Task<number> {
    return this.told(name, { mm: null, start: 0, end: 0 }, task, Number);
  }

  *#suspend(): Task<number> {
    if (this.#removed) return -ENODEV;
    const { svm, dmem, users } = this.#made;
    for (;;) {
      if (svm !== null) yield* svm.idle();
      if (users.count === 0) break;
      yield* users.wait();
    }
    if (this.#removed) return -ENODEV;
    if (this.#suspended) return 0;
    svm?.disable();
    dmem?.suspend();
    this.#suspended = true;
    return 0;
  }

  // biome-ignore lint/correctness/useYield: a task like its siblings
  *#resume(): Task<number> {
    if (this.#removed) return -ENODEV;
    this.wake();
    return 0;
  }

  *#remove(): Task<number> {
    if (this.#removed) return -ENODEV;
    const { svm, dmem } = this.#made;
    this.wake();
    this.#removed = true;
    yield* this.#made.users.wait();
    for (const file of this.#files) yield* file.hangUp();
    if (svm !== null) {
      svm.disable();
      yield* svm.idle();
    }
    // Only now does nothing map pages on it any more.
    for (const svmm of this.#svmms.values()) svmm.vmm = null;
    if (dmem !== null) yield* dmem.fini();
    this.#made.dmem = null;
    return 0;
  }
}
