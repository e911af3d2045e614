/** One GPU, one process and one buffer in time: what the comparison with published numbers runs. */
import { fileURLToPath } from 'node:url';

import {
  type EraName,
  type GpuAccessKind,
  Machine,
  MiB,
  Nouveau,
  type NouveauFile,
  type Process,
  type Timing,
} from '../src/index.ts';
import { readTiming } from '../src/node/timing-file.ts';

export type SpecName =
  | 'pcie3-gtx1080'
  | 'pcie4'
  | 'pcie5'
  | 'nvlink2-v100'
  | 'nvlink3-a100'
  | 'nvlink4-h100'
  | 'c2c-gh200';

export function timingOf(name: SpecName): Timing {
  return readTiming(fileURLToPath(new URL(`../examples/specs/${name}.json`, import.meta.url)));
}

export interface LabOptions {
  readonly timing: Timing;
  readonly bytes: number;
  readonly pageSize?: number;
  readonly vramBytes?: number;
  readonly faultEntries?: number;
  readonly era?: EraName;
}

export interface StreamOptions {
  /** Of each page; all of it unless given. */
  readonly bytes?: number;
  /** So many of the buffer's first pages; all unless given. */
  readonly pages?: number;
}

/** A buffer that the CPU has written, page by page, and a GPU that shares the process's memory. */
export class Lab {
  readonly machine: Machine;
  readonly gpu: Nouveau;
  readonly file: NouveauFile;
  readonly proc: Process;
  readonly pageSize: number;
  readonly pages: number;
  readonly buffer: number;

  constructor({ timing, bytes, era = 'v6.1', ...options }: LabOptions) {
    this.pageSize = options.pageSize ?? 4096;
    this.pages = Math.ceil(bytes / this.pageSize);
    const ramBytes = 2 * bytes + 64 * MiB;
    const { pageSize } = this;
    this.machine = new Machine({ timing, era, pageSize, ramBytes, accounts: true });
    const vramBytes = options.vramBytes ?? bytes + 8 * MiB;
    const faultEntries = options.faultEntries ?? 256;
    this.gpu = this.machine.attach(new Nouveau({ vramBytes, faultEntries }));
    this.proc = this.machine.createProcess();
    this.file = this.gpu.open(this.proc);
    this.buffer = this.proc.mmap({ pages: this.pages });
    for (let i = 0; i < this.pages; i++) this.proc.store32(this.buffer + i * pageSize, i);
  }

  /** Virtual nanoseconds that `action` takes. */
  time(action: () => void): number {
    const { scheduler } = this.machine;
    const startNs = scheduler.nowNs;
    action();
    return scheduler.nowNs - startNs;
  }

  /** The GPU goes over the buffer once. */
  stream(kind: GpuAccessKind, options: StreamOptions = {}): number {
    const { bytes = this.pageSize, pages = this.pages } = options;
    const job = Array.from({ length: pages }, (_, i) => {
      return { kind, va: this.buffer + i * this.pageSize, value: 1, bytes };
    });
    return this.time(() => {
      const { ret } = this.file.execute(job);
      if (ret !== 0) throw new Error(`the job of the GPU ended with ${ret}`);
    });
  }

  /** Asks for `count` pages from `first` on to lie in the memory of the GPU. */
  bind(first = 0, count: number = this.pages): number {
    return this.time(() => {
      const ret = this.file.svmBind(this.buffer + first * this.pageSize, count * this.pageSize);
      if (ret !== 0) throw new Error(`the bind ended with ${ret}`);
    });
  }

  /** The CPU reads the first word of `count` pages. */
  touch(count: number): number {
    return this.time(() => {
      for (let i = 0; i < count; i++) this.proc.load32(this.buffer + i * this.pageSize);
    });
  }
}

/** GB/s. */
export function rate(bytes: number, ns: number): number {
  return bytes / ns;
}
