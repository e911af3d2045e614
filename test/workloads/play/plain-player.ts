/**
 * Plays a workload the slow and plain way: row by row, every access by an ordinary call of the process or
 * the driver, every table an array or a Map. It shares no code with the player that it stands beside.
 */
import { Machine } from '../../../src/core/machine.ts';
import type { Owner } from '../../../src/core/pagemap/pagemap.ts';
import type { Process } from '../../../src/core/process.ts';
import { Dmirror, type DmirrorFile } from '../../../src/drivers/dmirror/index.ts';
import { Nouveau, type NouveauFile } from '../../../src/drivers/nouveau/index.ts';
import { GPU_PTE_WRITE } from '../../../src/hw/gpu-page-table.ts';
import type { AccessBatch, MappingChange, WorkloadSink } from '../../../src/workloads/types.ts';

const PAGE = 4096;
const BLOCK = 16;
const PIECE = 512;

export interface PlainOptions {
  readonly driver: 'nouveau' | 'dmirror';
  readonly devices: number;
  readonly batch: number;
  readonly devicePages?: number;
  readonly agentOf: (page: number, thread: number, before: number) => number;
}

export interface PlainCounts {
  readonly name: string;
  records: number;
  accesses: number;
  stores: number;
  missed: number;
  remote: number;
  arrived: number;
  left: number;
}

interface Access {
  readonly page: number;
  readonly write: boolean;
  readonly value: number;
}

/** The calls of a driver that the plain player makes. */
interface Device {
  readonly owner: Owner & { readonly pagesInUse: number };
  isMapped(page: number, write: boolean): boolean;
  read(page: number): number;
  write(page: number, value: number): void;
  migrate(page: number, count: number): void;
  home(page: number): void;
}

export class PlainPlayer implements WorkloadSink {
  readonly machine: Machine;
  readonly proc: Process;
  readonly counts: PlainCounts[];
  /** Number of the store that each page holds. */
  readonly stored: Map<number, number> = new Map();
  wrong = 0;
  readonly #options: PlainOptions;
  readonly #devices: Device[];
  /** Of each device: blocks, the one that was used longest ago first. */
  readonly #blocks: number[][];
  #waiting: Access[] = [];
  #whoWaits = 0;
  #stores = 0;
  #before = 0;

  constructor(options: PlainOptions) {
    this.#options = options;
    this.machine = new Machine({ ramBytes: 2 ** 34 });
    this.proc = this.machine.createProcess();
    const make = options.driver === 'nouveau' ? nouveau : dmirror;
    this.#devices = Array.from({ length: options.devices }, (_, i) =>
      make(this.machine, this.proc, `gpu${i}`),
    );
    this.#blocks = this.#devices.map(() => []);
    this.counts = ['cpu', ...this.#devices.map(({ owner }) => owner.name)].map((name) => ({
      ...{ name, records: 0, accesses: 0, stores: 0, missed: 0, remote: 0, arrived: 0, left: 0 },
    }));
    this.machine.events.on('owner_change', ({ from, to }) => {
      for (const [i, { owner }] of this.#devices.entries()) {
        if (to === owner) this.counts[i + 1]!.arrived++;
        if (from === owner && to !== null) this.counts[i + 1]!.left++;
      }
    });
  }

  accesses({ count, vpn, thread, write, weight }: AccessBatch): void {
    for (let i = 0; i < count; i++) {
      const agent = this.#options.agentOf(vpn[i]!, thread[i]!, this.#before);
      this.#before += weight[i]!;
      const counts = this.counts[agent]!;
      counts.records++;
      counts.accesses += weight[i]!;
      if (write[i] === 1) {
        counts.stores++;
        this.#stores++;
      }
      if (this.#waiting.length > 0 && this.#whoWaits !== agent) this.#serve();
      const access = { page: vpn[i]!, write: write[i] === 1, value: this.#stores };
      if (agent === 0) this.#cpu(access);
      else this.#device(agent, access);
    }
  }

  mapping({ kind, start, pages }: MappingChange): void {
    this.#serve();
    if (kind === 'map') this.proc.mmap({ addr: start * PAGE, pages });
    else this.proc.munmap(start * PAGE, pages * PAGE);
    for (const page of [...this.stored.keys()]) {
      if (page >= start && page < start + pages) this.stored.delete(page);
    }
  }

  end(): void {
    this.#serve();
  }

  #cpu(access: Access): void {
    this.#ensureMapped(access.page);
    if (access.write) this.proc.store32(access.page * PAGE, access.value);
    this.#settle(access, this.proc.load32(access.page * PAGE));
  }

  #device(agent: number, access: Access): void {
    const device = this.#devices[agent - 1]!;
    const isBehind = this.#waiting.some(({ page }) => page === access.page);
    if (!isBehind && device.isMapped(access.page, access.write)) {
      this.#perform(device, access);
      this.#use(agent, access.page);
      return;
    }
    this.counts[agent]!.missed++;
    this.#waiting.push(access);
    this.#whoWaits = agent;
    if (this.#waiting.length === this.#options.batch) this.#serve();
  }

  #serve(): void {
    if (this.#waiting.length === 0) return;
    const agent = this.#whoWaits;
    const device = this.#devices[agent - 1]!;
    const pages = [...new Set(this.#waiting.map(({ page }) => page))].sort((a, b) => a - b);
    const { batch, devicePages = Number.POSITIVE_INFINITY } = this.#options;
    const longest = Math.min(batch, devicePages);
    while (pages.length > 0) {
      const run = [pages.shift()!];
      while (run.length < longest && pages[0] === run.at(-1)! + 1) run.push(pages.shift()!);
      for (const page of run) this.#ensureMapped(page);
      for (const page of run) {
        const home = this.#homeOf(page);
        if (home !== null && home !== 'system' && home !== device.owner) device.read(page);
      }
      while (device.owner.pagesInUse + run.length > devicePages) {
        const oldest = this.#blocks[agent - 1]!.shift();
        if (oldest === undefined) break;
        for (let page = oldest * BLOCK; page < (oldest + 1) * BLOCK; page++) {
          if (this.#homeOf(page) === device.owner) device.home(page);
        }
      }
      if (device.owner.pagesInUse + run.length > devicePages) continue;
      device.migrate(run[0]!, run.length);
      for (const page of run) this.#use(agent, page);
    }
    for (const access of this.#waiting) {
      if (this.#homeOf(access.page) !== device.owner) this.counts[agent]!.remote++;
      this.#perform(device, access);
    }
    this.#waiting = [];
  }

  #perform(device: Device, access: Access): void {
    if (access.write) device.write(access.page, access.value);
    this.#settle(access, device.read(access.page));
  }

  #settle({ page, write, value }: Access, found: number): void {
    if (write) this.stored.set(page, value);
    if (found !== (this.stored.get(page) ?? 0)) this.wrong++;
  }

  #use(agent: number, page: number): void {
    const block = Math.floor(page / BLOCK);
    const others = this.#blocks[agent - 1]!.filter((one) => one !== block);
    this.#blocks[agent - 1] = [...others, block];
  }

  #ensureMapped(page: number): void {
    if (this.#isMapped(page)) return;
    const first = Math.floor(page / PIECE) * PIECE;
    for (let one = first; one < first + PIECE; one++) {
      if (!this.#isMapped(one)) this.proc.mmap({ addr: one * PAGE, pages: 1 });
    }
  }

  #isMapped(page: number): boolean {
    return this.proc.mm.vmas.find(page * PAGE) !== null;
  }

  #homeOf(page: number): Owner | 'system' | null {
    return this.machine.ownerOf(this.proc, page * PAGE);
  }
}

function nouveau(machine: Machine, proc: Process, name: string): Device {
  const owner = machine.attach(new Nouveau({ name, vramBytes: 2 ** 26 }));
  const file = owner.open(proc);
  const entryOf = (page: number): { readonly flags: number } | null =>
    file.channel!.instance.pageTable.entry(page);
  return {
    owner,
    isMapped: (page, write) =>
      entryOf(page) !== null && (!write || (entryOf(page)!.flags & GPU_PTE_WRITE) !== 0),
    read: (page) => only(file, { kind: 'read', va: page * PAGE }),
    write: (page, value) => void only(file, { kind: 'write', va: page * PAGE, value }),
    migrate: (page, count) => void file.svmBind(page * PAGE, count * PAGE),
    home: (page) => void proc.load32(page * PAGE),
  };
}

function only(file: NouveauFile, access: Parameters<NouveauFile['execute']>[0][number]): number {
  const { ret, results } = file.execute([access]);
  if (ret !== 0) throw new Error(`execute: ${ret}`);
  return results[0]!;
}

function dmirror(machine: Machine, proc: Process, name: string): Device {
  const owner = machine.attach(new Dmirror({ name, chunkBytes: 2 ** 21 }));
  const file: DmirrorFile = owner.open(proc);
  return {
    owner,
    isMapped: (page, write) => {
      const entry = file.pageTable.entry(page);
      return entry !== null && (!write || entry.access === 'write');
    },
    read: (page) => file.read(page * PAGE, 1).data[0]!,
    write: (page, value) => void file.write(page * PAGE, [value]),
    migrate: (page, count) => void file.migrateToDev(page * PAGE, count),
    home: (page) => void file.migrateToSys(page * PAGE, 1),
  };
}
