/**
 * Random programs for a machine with everything in it: GPUs, dmirrors and a secure guest work on
 * the same few buffers of a process and its children.
 */
import type { EraName } from '../../../src/core/era.ts';
import { Random, Weighted } from './random.ts';

export interface GenerateOptions {
  readonly era: EraName;
  /** Lines of the program after its start, at most. */
  readonly operations: number;
}

/** A program as lines, so that some of them can be left out. */
export interface MixedProgram {
  readonly header: readonly string[];
  readonly lines: readonly string[];
}

export function textOf({ header, lines }: MixedProgram): string {
  return [...header, 'program mixed', ...lines, 'end', ''].join('\n');
}

const BUFFERS = 4;
const PAGES_MAX = 8;
const CHILDREN_MAX = 3;
const SLOTS = 3;
/** Slot n has the guest pages from n times this on. */
const SLOT_GFNS = 16;
/** Every value a guest writes starts with this byte, and nobody else's does. */
const SECRET_BASE = 0x5e00_0000;

/** Operations on a range of pages of a buffer. */
const MEMORY: Readonly<Record<string, number>> = {
  cpu_read: 8,
  cpu_write: 10,
  munmap: 1,
  dontneed: 2,
  mprotect: 3,
  mmap: 2,
  fork: 3,
  exit: 1,
};
const GPU: Readonly<Record<string, number>> = {
  gpu_bind: 12,
  gpu_read: 7,
  gpu_write: 8,
  gpu_atomic: 4,
  gpu_access: 5,
  gpu_suspend: 1,
  gpu_resume: 1,
  gpu_remove: 1,
  gpu_fail_copy: 1,
};
const DMIRROR: Readonly<Record<string, number>> = {
  dev_read: 4,
  dev_write: 4,
  migrate_to_dev: 7,
  migrate_to_sys: 2,
  snapshot: 1,
  exclusive: 2,
  check_exclusive: 1,
  release: 1,
};
const GUEST: Readonly<Record<string, number>> = {
  vm_slot: 3,
  vm_slot_delete: 1,
  guest_read: 9,
  guest_write: 10,
  svm_page_in: 4,
  svm_page_out: 6,
  svm_share: 4,
  svm_unshare: 3,
  svm_esm: 3,
  svm_init_start: 1,
  svm_init_done: 1,
  svm_init_abort: 1,
  svm_off: 1,
};

interface Devices {
  readonly header: readonly string[];
  readonly gpus: number;
  /** GPUs whose driver has its known faults mended. */
  readonly mended: boolean;
  readonly dmirrors: number;
  readonly guest: boolean;
  /**
   * Until v5.6 the driver of secure memory takes its own pages for pages of the host: no trespass,
   * but a loss. So no page is to be guest memory twice.
   */
  readonly apart: boolean;
}

function devicesFor(random: Random, era: EraName): Devices {
  const large = random.percent(25);
  const page = large ? '64KiB' : '4KiB';
  const ram = random.percent(large ? 30 : 3) ? '1MiB' : '64MiB';
  const gpus = 1 + random.below(3);
  const mended = random.percent(50);
  const dmirrors = random.below(3);
  const guest = random.percent(90);
  const header = [`machine era ${era} ram ${ram} page ${page}`];
  for (let i = 0; i < gpus; i++) {
    const vram = random.one(['2MiB', '2MiB', '4MiB', '64KiB']);
    const faults = random.one([2, 3, 4, 8, 64]);
    header.push(`device nouveau vram ${vram} faults ${faults}${mended ? ' mended' : ''}`);
  }
  const types = era.startsWith('v5') ? ['private'] : ['private', 'private', 'coherent'];
  for (let i = 0; i < dmirrors; i++) {
    header.push(`device dmirror ${random.one(types)} chunk ${large ? '512KiB' : '64KiB'}`);
  }
  if (guest) {
    const secure = random.one(large ? ['256KiB', '1MiB', '4MiB'] : ['64KiB', '1MiB', '4MiB']);
    header.push(`device kvm-uvmem secure ${secure}`);
  }
  // Devices are attached in any order: nothing may depend on it.
  const [machine, ...devices] = header;
  for (let i = devices.length - 1; i > 0; i--) {
    const other = random.below(i + 1);
    [devices[i], devices[other]] = [devices[other]!, devices[i]!];
  }
  const apart = era === 'v5.6';
  return { header: [machine!, ...devices], gpus, mended, dmirrors, guest, apart };
}

/** The program of a seed: always the same. */
export function generate(seed: number, options: GenerateOptions): MixedProgram {
  const random = new Random(seed);
  const devices = devicesFor(random, options.era);
  const writer = new Writer(random, devices);
  writer.start();
  const weights = new Weighted({
    ...MEMORY,
    ...GPU,
    ...(devices.mended ? {} : { gpu_fail_copy: 0 }),
    ...(devices.dmirrors > 0 ? DMIRROR : {}),
    ...(devices.guest ? GUEST : {}),
  });
  const count = 3 + random.below(Math.max(1, options.operations - 2));
  for (let i = 0; i < count; i++) writer.add(weights.draw(random));
  return { header: devices.header, lines: writer.lines };
}

interface Slot {
  readonly id: number;
  readonly buffer: number;
  readonly pages: number;
}

interface Known {
  readonly buffers: Map<number, number>;
  readonly slots: Map<number, Slot>;
}

interface Range {
  readonly process: number;
  readonly buffer: number;
  readonly offset: number;
  readonly pages: number;
}

class Writer {
  readonly lines: string[] = [];
  readonly #random: Random;
  readonly #devices: Devices;
  readonly #processes: Map<number, Known> = new Map([
    [0, { buffers: new Map(), slots: new Map() }],
  ]);
  #children = 0;
  #value = 1000;
  #secret = SECRET_BASE;
  #last: Range | null = null;

  constructor(random: Random, devices: Devices) {
    this.#random = random;
    this.#devices = devices;
  }

  /** Something to work on: buffers with contents, and usually a guest that is or becomes secure. */
  start(): void {
    const random = this.#random;
    const count = 1 + random.below(2);
    for (let buffer = 0; buffer < count; buffer++) {
      this.#mmap(0, buffer);
      if (random.percent(80)) this.#ranged('cpu_write', this.#whole(0, buffer));
    }
    if (!this.#devices.guest || random.percent(20)) return;
    this.#slot(0);
    if (random.percent(70)) this.#write(0, 'svm_esm');
    else if (random.percent(50)) this.#write(0, 'svm_init_start');
  }

  add(name: string): void {
    const random = this.#random;
    const numbers = [...this.#processes.keys()];
    const process = random.percent(50) ? 0 : random.one(numbers);
    switch (name) {
      case 'fork':
        if (this.#children < CHILDREN_MAX) this.#fork();
        return;
      case 'exit':
        this.#exit();
        return;
      case 'mmap':
        this.#mmap(process, random.below(BUFFERS));
        return;
      case 'release':
        this.#write(process, name, random.below(this.#devices.dmirrors));
        return;
      case 'gpu_suspend':
      case 'gpu_resume':
        this.#write(process, name, random.below(this.#devices.gpus));
        return;
      case 'gpu_remove':
        // Rarely: what comes after has one GPU fewer.
        if (random.percent(50)) this.#write(process, name, random.below(this.#devices.gpus));
        return;
      case 'gpu_fail_copy':
        this.#write(process, name, random.below(this.#devices.gpus), 1 + random.below(6));
        return;
      case 'vm_slot':
        this.#slot(random.percent(80) ? 0 : process);
        return;
      case 'vm_slot_delete':
      case 'svm_esm':
      case 'svm_init_start':
      case 'svm_init_done':
      case 'svm_init_abort':
      case 'svm_off':
        this.#guestWhole(name);
        return;
      case 'guest_read':
      case 'guest_write':
      case 'svm_page_in':
      case 'svm_page_out':
      case 'svm_share':
      case 'svm_unshare':
        this.#guestRanged(name);
        return;
      default: {
        const range = this.#rangeOf(process);
        if (range !== null) this.#ranged(name, range);
      }
    }
  }

  #mmap(process: number, buffer: number): void {
    const random = this.#random;
    const pages = 1 + random.below(PAGES_MAX);
    const kind = random.percent(93) ? 'anon' : 'shared';
    const prot = random.percent(90) ? 'rw' : 'r';
    this.#write(process, 'mmap', buffer, pages, kind, prot);
    this.#processes.get(process)!.buffers.set(buffer, pages);
  }

  #fork(): void {
    const child = ++this.#children;
    const { buffers } = this.#processes.get(0)!;
    this.#processes.set(child, { buffers: new Map(buffers), slots: new Map() });
    this.#write(0, 'fork', child);
  }

  #exit(): void {
    const children = [...this.#processes.keys()].slice(1);
    if (children.length === 0) return;
    const process = this.#random.one(children);
    this.#processes.delete(process);
    this.#write(process, 'exit');
  }

  #whole(process: number, buffer: number): Range {
    const pages = this.#processes.get(process)!.buffers.get(buffer)!;
    return { process, buffer, offset: 0, pages };
  }

  /** Where the last one was, or anywhere; now and then beyond the end of a buffer. */
  #rangeOf(process: number): Range | null {
    const random = this.#random;
    const last = this.#last;
    if (last !== null && random.percent(45)) {
      // The same pages, perhaps in another process.
      const there = random.percent(75) ? last.process : process;
      if (this.#processes.get(there)?.buffers.has(last.buffer) === true) {
        return { ...last, process: there };
      }
    }
    const { buffers } = this.#processes.get(process)!;
    if (buffers.size === 0) return null;
    const buffer = random.one([...buffers.keys()]);
    const size = buffers.get(buffer)!;
    const offset = random.below(size);
    const most = random.percent(95) ? size - offset : size + 1;
    this.#last = { process, buffer, offset, pages: 1 + random.below(most) };
    return this.#last;
  }

  #ranged(name: string, range: Range): void {
    const random = this.#random;
    const { process, buffer, offset, pages } = range;
    const words = [buffer, offset, pages];
    const device = random.below(
      Math.max(1, name.startsWith('gpu') ? this.#devices.gpus : this.#devices.dmirrors),
    );
    switch (name) {
      case 'cpu_read':
      case 'munmap':
      case 'dontneed':
        this.#write(process, name, ...words);
        return;
      case 'cpu_write':
        this.#write(process, name, ...words, this.#values());
        return;
      case 'mprotect':
        this.#write(process, name, ...words, random.one(['rw', 'rw', 'rw', 'r', 'r', 'n']));
        return;
      case 'gpu_access':
        this.#write(process, name, device, buffer, this.#accesses(range));
        return;
      case 'gpu_atomic':
        this.#write(process, name, device, ...words, 100_000 * (1 + random.below(5)));
        return;
      case 'dev_write':
      case 'gpu_write':
        this.#write(process, name, device, ...words, this.#values());
        return;
      default:
        this.#write(process, name, device, ...words);
    }
  }

  #accesses({ offset, pages }: Range): string {
    const random = this.#random;
    const count = 1 + random.below(10);
    const kinds = random.one(['r', 'rw', 'rwp', 'rwap', 'a', 'rp']);
    return Array.from({ length: count }, () => {
      return `${random.one([...kinds])}${offset + random.below(pages)}`;
    }).join(',');
  }

  /** Slots have places of their own, so that most of them are taken. */
  #slot(process: number): void {
    const random = this.#random;
    const known = this.#processes.get(process)!;
    const buffers = [...known.buffers];
    if (buffers.length === 0) return;
    const [buffer, size] = random.one(buffers);
    const offset = random.percent(70) ? 0 : random.below(size);
    const pages = random.percent(60) ? size - offset : 1 + random.below(size - offset);
    const id = random.below(SLOTS);
    if (this.#devices.apart && !this.#isApart(process, id, buffer)) return;
    this.#write(process, 'vm_slot', id, buffer, offset, pages, id * SLOT_GFNS);
    if (!known.slots.has(id)) known.slots.set(id, { id, buffer, pages });
  }

  /** One guest at most, with every page once. */
  #isApart(process: number, id: number, buffer: number): boolean {
    if (process !== 0) return false;
    const slots = [...this.#processes.get(0)!.slots.values()];
    return slots.every((slot) => (slot.id === id) === (slot.buffer === buffer));
  }

  #processWithSlots(): number | null {
    const found = [...this.#processes].filter(([, { slots }]) => slots.size > 0);
    return found.length === 0 ? null : this.#random.one(found)[0];
  }

  #guestWhole(name: string): void {
    const process = this.#processWithSlots();
    if (process === null) return;
    if (name !== 'vm_slot_delete') {
      this.#write(process, name);
      return;
    }
    const { slots } = this.#processes.get(process)!;
    const id = this.#random.one([...slots.keys()]);
    slots.delete(id);
    this.#write(process, name, id);
  }

  #guestRanged(name: string): void {
    const random = this.#random;
    const process = this.#processWithSlots();
    if (process === null) return;
    const { slots } = this.#processes.get(process)!;
    const { id, pages } = random.one([...slots.values()]);
    const first = random.below(pages);
    const gfn = id * SLOT_GFNS + first;
    const count = 1 + random.below(random.percent(97) ? pages - first : pages + 1);
    if (name === 'svm_page_in' || name === 'svm_page_out') {
      const flags = name === 'svm_page_in' && random.percent(25) ? 1 : 0;
      for (let i = 0; i < Math.min(count, 2); i++) this.#write(process, name, gfn + i, flags, '-');
    } else if (name === 'guest_write') {
      this.#secret += PAGES_MAX * 2;
      this.#write(process, name, gfn, count, this.#secret);
    } else this.#write(process, name, gfn, count);
  }

  /** Every store has values of its own. */
  #values(): number {
    this.#value += 100;
    return this.#value;
  }

  #write(process: number, ...words: readonly (string | number)[]): void {
    this.lines.push([...(process === 0 ? [] : [`@${process}`]), ...words].join(' '));
  }
}
