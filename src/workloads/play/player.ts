/**
 * Plays a workload on a machine with a CPU and devices: every access goes through the emulator.
 *
 * CPU accesses are loads and stores of a process. Device accesses are what the device does with what it
 * has mapped; those that miss wait until enough of them have come, or until somebody else has his turn,
 * and are then served together, as the runtime of a GPU does: pages go to the device, and where its
 * memory is full, those of the blocks that were used longest ago go home first. Every store writes a number
 * of its own, and every load must find the number written last.
 *
 * Rows that one agent makes in a row are played in one loop, without an object or a rule for each.
 */
import type { EraName } from '../../core/era.ts';
import { SimError } from '../../core/errors.ts';
import { Machine } from '../../core/machine.ts';
import { VpnTable } from '../../core/mm/vpn-table.ts';
import { ACCESS_SIGKILL, type Process } from '../../core/process.ts';
import { GiB, type Va, type Vpn } from '../../core/units.ts';
import type { AccessBatch, MappingChange, WorkloadSink } from '../types.ts';
import { BLOCK_PAGES, BlockLru } from './block-lru.ts';
import { attachDevice, type PlayDevice, type PlayDriver, ramFull, touch } from './devices.ts';
import type { AssignRule } from './rules.ts';
import { Tally } from './tally.ts';

export interface PlayerOptions {
  readonly driver: PlayDriver;
  /** 1 to 64. */
  readonly devices: number;
  readonly rule: AssignRule;
  /** Pages that a device's memory holds; as many as there are unless given. */
  readonly devicePages?: number;
  /** Accesses of a device that may wait for their faults together, 1 to 4096; 256 unless given. */
  readonly batch?: number;
  readonly era?: EraName;
  /** Bytes of a page of the workload, 4096 unless given. */
  readonly pageSize?: number;
  /** RAM in bytes, 256 GiB unless given; it costs what is used of it. */
  readonly ramBytes?: number;
}

/** What one agent did. */
export interface AgentCounts {
  /** Rows of the workload. */
  records: number;
  /** Accesses of the program that they stand for. */
  accesses: number;
  stores: number;
  /** Accesses that waited for a fault. */
  missed: number;
  /** Of a device: accesses that were served where the page was, because it did not come. */
  remote: number;
  /** Accesses that could not be served at all. */
  failed: number;
}

/** Mappings that no trace told of are made in such pieces. */
const PIECE_PAGES = 512;
/** User addresses end at 2^47; what lies from here on comes below. */
const FOLD_BYTES: number = 2 ** 46;
/**
 * Each of 64 neighbours is accessed at another line, as by a program: words at one and the same place of all
 * pages would have to share a few sets of the processor's caches.
 */
const LINE_BYTES = 64;
const LINE_MASK = 63;
const BATCH_DEFAULT = 256;
const VALUES = 0xffff_fff0;
const NO_LIMIT: number = 2 ** 24;

interface Waiting {
  readonly vpn: Vpn;
  readonly write: boolean;
  readonly value: number;
}

interface Agent {
  readonly name: string;
  readonly counts: AgentCounts;
  readonly device: PlayDevice | null;
  /** Null where memory has no limit, and nothing needs to go. */
  readonly lru: BlockLru | null;
  readonly waiting: Waiting[];
  readonly waitingPages: Set<Vpn>;
  peakPages: number;
}

export class Player implements WorkloadSink {
  readonly machine: Machine;
  readonly proc: Process;
  readonly tally: Tally;
  readonly agents: readonly Agent[];
  readonly pageSize: number;
  /** Accesses of a device that may wait together. */
  readonly batchAccesses: number;
  /** Loads that found something else than was stored last. */
  mismatches = 0;
  /** Pieces of memory that were touched though no mapping was told of. */
  unannounced = 0;
  /** Accesses beyond the addresses of a process, which were moved below. */
  folded = 0;
  readonly #options: PlayerOptions;

  readonly #devicePages: number;
  /** Pages from here on come below. */
  readonly #pagesMax: number;
  /** Who makes each access of the batch that is played. */
  #agentOf: Uint8Array = new Uint8Array(0);
  /** What was stored last in each page. */
  readonly #stored: VpnTable = new VpnTable();
  #value = 0;
  #before = 0;
  /** The device whose accesses wait. */
  #stalled: Agent | null = null;

  /** @throws SimError `bad-argument` */
  constructor(options: PlayerOptions) {
    const { devices, driver, era, pageSize = 4096, ramBytes = 256 * GiB } = options;
    if (!Number.isInteger(devices) || devices < 1 || devices > 64) {
      throw new SimError('bad-argument', `expected 1 to 64 devices; found ${devices}`);
    }
    this.#options = options;
    this.pageSize = pageSize;
    this.batchAccesses = options.batch ?? BATCH_DEFAULT;
    this.#devicePages = options.devicePages ?? NO_LIMIT;
    this.#pagesMax = FOLD_BYTES / pageSize;
    this.machine = new Machine({ ramBytes, pageSize, ...(era === undefined ? {} : { era }) });
    this.proc = this.machine.createProcess();
    const attached = Array.from({ length: devices }, (_, i) =>
      attachDevice(this.machine, this.proc, driver, i, this.#devicePages),
    );
    const limited = options.devicePages !== undefined;
    this.agents = [
      newAgent('cpu', null, false),
      ...attached.map((one) => newAgent(one.name, one, limited)),
    ];
    this.tally = new Tally(
      this.machine,
      attached.map(({ owner }) => owner),
    );
  }

  /** Accesses of the program so far. */
  get accessesPlayed(): number {
    return this.#before;
  }

  get options(): PlayerOptions {
    return this.#options;
  }

  /** Pages that hold something that was stored. */
  get pagesStored(): number {
    return this.#stored.size;
  }

  /** @throws SimError `limit` where RAM is full, `bad-argument` where the rule names nobody */
  accesses(batch: AccessBatch): void {
    this.#tellingRamFull(() => this.#play(batch));
  }

  #play(batch: AccessBatch): void {
    const { count } = batch;
    const agentOf = this.#assign(batch);
    for (let from = 0; from < count; ) {
      const number = agentOf[from]!;
      let end = from + 1;
      while (end < count && agentOf[end] === number) end++;
      const agent = this.agents[number]!;
      if (this.#stalled !== null && this.#stalled !== agent) this.#serve(this.#stalled);
      if (agent.device === null) this.#playCpu(agent, batch, from, end);
      else this.#playDevice(agent, agent.device, batch, from, end);
      from = end;
    }
  }

  mapping({ kind, start, pages }: MappingChange): void {
    this.end();
    if (start + pages > this.#pagesMax) return;
    const va = start * this.pageSize;
    if (kind === 'map') this.proc.mmap({ addr: va, pages });
    else this.proc.munmap(va, pages * this.pageSize);
    this.#stored.deleteRange(start, start + pages);
  }

  /** Serves what waits. Call it after the last access. */
  end(): void {
    const stalled = this.#stalled;
    if (stalled !== null) this.#tellingRamFull(() => this.#serve(stalled));
  }

  /** A driver that finds no RAM for a page that comes home may say nothing: then the CPU faults for ever. */
  #tellingRamFull(work: () => void): void {
    try {
      work();
    } catch (error) {
      const { ramUsed, ramPages } = this.machine.kernel.pages;
      const isLivelock = error instanceof SimError && error.code === 'refault-livelock';
      throw isLivelock && ramUsed === ramPages ? ramFull(this.machine) : error;
    }
  }

  /** Asks the rule about each row. */
  #assign({ count, vpn, thread, weight }: AccessBatch): Uint8Array {
    if (this.#agentOf.length < count) this.#agentOf = new Uint8Array(count);
    const agentOf = this.#agentOf;
    const { rule, devices } = this.#options;
    let before = this.#before;
    for (let i = 0; i < count; i++) {
      const number = rule.agentOf(vpn[i]!, thread[i]!, before);
      // Written so that NaN is refused too.
      if (!(number >= 0 && number <= devices)) throw badAgent(number, devices);
      agentOf[i] = number;
      before += weight[i]!;
    }
    this.#before = before;
    return agentOf;
  }

  #expected(page: Vpn): number {
    const stored = this.#stored.get(page);
    return stored < 0 ? 0 : stored;
  }

  #nextValue(): number {
    this.#value = this.#value === VALUES ? 1 : this.#value + 1;
    return this.#value;
  }

  #fold(page: Vpn): Vpn {
    this.folded++;
    return page % this.#pagesMax;
  }

  /** The word of a page that is accessed. */
  #wordOf(page: Vpn): Va {
    return page * this.pageSize + (page & LINE_MASK) * LINE_BYTES;
  }

  // The CPU ----------------------------------------------------------------------------------

  #playCpu(
    { counts }: Agent,
    { vpn, write, weight }: AccessBatch,
    from: number,
    end: number,
  ): void {
    const { proc } = this;
    const pagesMax = this.#pagesMax;
    let accesses = 0;
    let stores = 0;
    for (let i = from; i < end; i++) {
      const page = vpn[i]! < pagesMax ? vpn[i]! : this.#fold(vpn[i]!);
      accesses += weight[i]!;
      if (write[i] !== 0) {
        stores++;
        const value = this.#nextValue();
        if (proc.tryStore32(this.#wordOf(page), value) === 0) this.#stored.set(page, value);
        else this.#cpuSlowly(counts, page, true);
      } else {
        const value = proc.tryLoad32(this.#wordOf(page));
        if (value !== this.#expected(page)) this.#cpuLoaded(counts, page, value);
      }
    }
    counts.records += end - from;
    counts.accesses += accesses;
    counts.stores += stores;
  }

  /** A load that failed, or found something else than was stored. */
  #cpuLoaded(counts: AgentCounts, page: Vpn, value: number): void {
    if (value < 0) this.#cpuSlowly(counts, page, false);
    else this.mismatches++;
  }

  /** An access that got a signal: there may be no mapping yet. */
  #cpuSlowly(counts: AgentCounts, page: Vpn, write: boolean): void {
    this.#mapAround(page);
    const va = this.#wordOf(page);
    const value = write ? this.proc.tryStore32(va, this.#value) : this.proc.tryLoad32(va);
    if (value === ACCESS_SIGKILL) throw ramFull(this.machine);
    if (value < 0) counts.failed++;
    else if (write) this.#stored.set(page, this.#value);
    else if (value !== this.#expected(page)) this.mismatches++;
  }

  /** Maps the gaps of the piece of memory around a page. */
  #mapAround(page: Vpn): void {
    const { proc, pageSize } = this;
    const first = Math.floor(page / PIECE_PAGES) * PIECE_PAGES;
    const end = (first + PIECE_PAGES) * pageSize;
    let at = first * pageSize;
    let made = false;
    for (const vma of [...proc.mm.vmas.overlapping(at, end), null]) {
      const until = vma === null ? end : vma.start;
      if (until > at) {
        proc.mmap({ addr: at, pages: (until - at) / pageSize });
        made = true;
      }
      at = vma === null ? end : Math.max(at, vma.end);
    }
    if (made) this.unannounced++;
  }

  // Devices ----------------------------------------------------------------------------------

  #playDevice(
    agent: Agent,
    device: PlayDevice,
    { vpn, write, weight }: AccessBatch,
    from: number,
    end: number,
  ): void {
    const { lru, counts, waitingPages } = agent;
    const pagesMax = this.#pagesMax;
    let accesses = 0;
    let stores = 0;
    for (let i = from; i < end; i++) {
      const page = vpn[i]! < pagesMax ? vpn[i]! : this.#fold(vpn[i]!);
      const isStore = write[i] !== 0;
      accesses += weight[i]!;
      if (isStore) {
        stores++;
        this.#nextValue();
      }
      // What comes behind an access that waits for the same page waits too.
      const done =
        (waitingPages.size === 0 || !waitingPages.has(page)) && this.#hit(device, page, isStore);
      if (!done) this.#miss(agent, page, isStore);
      else if (lru !== null) lru.use(Math.floor(page / BLOCK_PAGES));
    }
    counts.records += end - from;
    counts.accesses += accesses;
    counts.stores += stores;
  }

  /** An access of what the device has mapped; false where it has to fault. */
  #hit(device: PlayDevice, page: Vpn, isStore: boolean): boolean {
    const va = this.#wordOf(page);
    if (isStore) {
      if (!device.tryStore32(va, this.#value)) return false;
      this.#stored.set(page, this.#value);
      return true;
    }
    const value = device.tryLoad32(va);
    if (value < 0) return false;
    if (value !== this.#expected(page)) this.mismatches++;
    return true;
  }

  #miss(agent: Agent, page: Vpn, isStore: boolean): void {
    agent.counts.missed++;
    agent.waiting.push({ vpn: page, write: isStore, value: this.#value });
    agent.waitingPages.add(page);
    this.#stalled = agent;
    if (agent.waiting.length >= this.batchAccesses) this.#serve(agent);
  }

  /** Brings the pages that accesses of a device wait for, then does the accesses, in order. */
  #serve(agent: Agent): void {
    this.#stalled = null;
    const device = agent.device!;
    const pages = [...agent.waitingPages].sort((a, b) => a - b);
    const limit = this.#options.devicePages;
    for (let i = 0; i < pages.length; ) {
      let n = 1;
      while (i + n < pages.length && pages[i + n] === pages[i]! + n && n < this.#runPages) n++;
      this.#bring(agent, device, pages[i]!, n, limit);
      i += n;
    }
    agent.peakPages = Math.max(agent.peakPages, device.pagesInUse);
    for (const access of agent.waiting) this.#perform(agent, device, access);
    agent.waiting.length = 0;
    agent.waitingPages.clear();
  }

  /** No run is longer than the memory of a device. */
  get #runPages(): number {
    return Math.min(this.batchAccesses, this.#devicePages);
  }

  #bring(
    agent: Agent,
    device: PlayDevice,
    first: Vpn,
    count: number,
    limit: number | undefined,
  ): void {
    const { pageSize } = this;
    const va = first * pageSize;
    for (let i = 0; i < count; i++) {
      if (this.proc.mm.vmas.find(va + i * pageSize) === null) this.#mapAround(first + i);
    }
    for (let i = 0; i < count; i++) this.#fetchHome(device, va + i * pageSize);
    if (limit !== undefined) {
      while (device.pagesInUse + count > limit && this.#evictOldest(agent, device)) {}
      if (device.pagesInUse + count > limit) return;
    }
    device.migrate(va, count);
    for (let i = 0; i < count; i += BLOCK_PAGES)
      agent.lru?.use(Math.floor((first + i) / BLOCK_PAGES));
    agent.lru?.use(Math.floor((first + count - 1) / BLOCK_PAGES));
  }

  /** What another device has comes to RAM first. */
  #fetchHome(device: PlayDevice, va: Va): void {
    const { machine, proc, tally } = this;
    const home = machine.ownerOf(proc, va);
    if (home === null || home === 'system' || home === device.owner) return;
    tally.reason = 'device_fault';
    const { hmmChecksOwner, hmmFaultsForeign } = machine.era;
    // Its driver gives it back when this one asks the kernel for it. From v5.7 to v5.18 that fails, and
    // the CPU has to touch the page.
    if (hmmChecksOwner && !hmmFaultsForeign) touch(proc, va, 1);
    else device.faultIn(va);
    tally.reason = null;
  }

  /** False: there is nothing left to send home. */
  #evictOldest(agent: Agent, device: PlayDevice): boolean {
    const block = agent.lru!.takeOldest();
    if (block < 0) return false;
    const { pageSize, proc, machine, tally } = this;
    const first = block * BLOCK_PAGES;
    tally.reason = 'evict';
    for (let i = 0; i < BLOCK_PAGES; ) {
      let n = 0;
      while (
        i + n < BLOCK_PAGES &&
        machine.ownerOf(proc, (first + i + n) * pageSize) === device.owner
      )
        n++;
      if (n > 0) device.evict((first + i) * pageSize, n);
      i += n + 1;
    }
    tally.reason = null;
    return true;
  }

  #perform(agent: Agent, device: PlayDevice, { vpn, write, value }: Waiting): void {
    const va = this.#wordOf(vpn);
    const isLocal = this.machine.ownerOf(this.proc, va) === device.owner;
    let found = write ? (device.tryStore32(va, value) ? value : -1) : device.tryLoad32(va);
    if (found < 0) found = device.fault(va, write, value);
    if (!isLocal) agent.counts.remote++;
    if (found < 0) agent.counts.failed++;
    else if (write) this.#stored.set(vpn, value);
    else if (found !== this.#expected(vpn)) this.mismatches++;
  }
}

function badAgent(number: number, devices: number): SimError {
  return new SimError('bad-argument', `expected agents from 0 to ${devices}; found ${number}`);
}

function newAgent(name: string, device: PlayDevice | null, limited: boolean): Agent {
  return {
    name,
    counts: { records: 0, accesses: 0, stores: 0, missed: 0, remote: 0, failed: 0 },
    device,
    lru: limited && device !== null ? new BlockLru() : null,
    waiting: [],
    waitingPages: new Set(),
    peakPages: 0,
  };
}
