/**
 * Reads the lines that amdgpu's KFD tells through its system management interface
 * (kfd_smi_events.c of Linux 6.1): what a real GPU did, as a workload to play again.
 *
 * A page fault of a GPU is an access of that GPU. A migration that a prefetch or a CPU fault brought about
 * is a load of its pages by where they went; one that followed from a GPU's fault or from pressure says
 * nothing that was not said. A range that the CPU unmapped is a mapping that ends. Thread 0 is the CPU
 * (node 0), the others are the nodes in the order in which they appear.
 */
import { AccessWriter } from '../access-writer.ts';
import type { WorkloadSink } from '../types.ts';
import { badTrace, quoted, type TraceCounts, type TraceDecoder } from './decoder.ts';

const NEWLINE = 10;
/** Of a line of this interface: KFD_SMI_EVENT_MSG_SIZE. */
const LINE_BYTES_MAX = 256;

const MIGRATE_START = 5;
const PAGE_FAULT_START = 7;
const UNMAP_FROM_GPU = 11;
const TRIGGER_PREFETCH = 0;
const TRIGGER_PAGEFAULT_CPU = 2;
const UNMAP_FROM_CPU = 2;

const ANY = /^([0-9a-f]+) /;
const FAULT = /^7 \d+ -\d+ @([0-9a-f]+)\(([0-9a-f]+)\) ([RW])\s*$/;
const MIGRATION =
  /^5 \d+ -\d+ @([0-9a-f]+)\(([0-9a-f]+)\) ([0-9a-f]+)->([0-9a-f]+) [0-9a-f]+:[0-9a-f]+ (\d+)\s*$/;
const UNMAP = /^b \d+ -\d+ @([0-9a-f]+)\(([0-9a-f]+)\) [0-9a-f]+ (\d+)\s*$/;

const FORMS: ReadonlyMap<number, string> = new Map([
  [MIGRATE_START, '"5 ns -pid @start(pages) from->to prefetch:preferred trigger"'],
  [PAGE_FAULT_START, '"7 ns -pid @page(node) R"'],
  [UNMAP_FROM_GPU, '"b ns -pid @start(pages) node trigger"'],
]);

export class KfdDecoder implements TraceDecoder {
  #rest: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #lines = 0;
  #out: AccessWriter | null = null;
  readonly #threads: Map<number, number> = new Map([[0, 0]]);

  get counts(): TraceCounts {
    return {
      lines: this.#lines,
      passedOver: 0,
      records: this.#out?.records ?? 0,
      accesses: this.#out?.accesses ?? 0,
      threads: this.#threads.size,
    };
  }

  push(bytes: Uint8Array, sink: WorkloadSink): void {
    let all = bytes;
    if (this.#rest.length > 0) {
      all = new Uint8Array(this.#rest.length + bytes.length);
      all.set(this.#rest);
      all.set(bytes, this.#rest.length);
    }
    this.#out ??= new AccessWriter(sink);
    let at = 0;
    for (let end = all.indexOf(NEWLINE); end >= 0; end = all.indexOf(NEWLINE, at)) {
      this.#line(all.subarray(at, end), this.#offset + at, this.#out);
      at = end + 1;
    }
    this.#offset += at;
    this.#rest = all.slice(at);
    if (this.#rest.length > LINE_BYTES_MAX) this.#refuse(this.#rest, this.#offset);
  }

  end(_sink: WorkloadSink): void {
    if (this.#rest.length > 0) {
      const found = quoted(this.#rest);
      throw badTrace(
        this.#offset,
        `expected the end of the line; found the end of the trace after ${found}`,
        this.#lines + 1,
      );
    }
    if (this.#lines === 0) throw badTrace(0, 'expected lines of KFD events; found none');
    this.#out?.flush();
  }

  #line(bytes: Uint8Array, offset: number, out: AccessWriter): void {
    if (bytes.length === 0) {
      this.#lines++;
      return;
    }
    const text = bytes.length > LINE_BYTES_MAX ? '' : String.fromCharCode(...bytes);
    const event = ANY.exec(text);
    if (event === null) this.#refuse(bytes, offset);
    const id = Number.parseInt(event![1]!, 16);
    const form = FORMS.get(id);
    if (form !== undefined && !this.#event(id, text, out)) {
      throw badTrace(offset, `expected ${form}; found ${quoted(bytes)}`, this.#lines + 1);
    }
    this.#lines++;
  }

  /** False: it is not in the form it should have. */
  #event(id: number, text: string, out: AccessWriter): boolean {
    if (id === PAGE_FAULT_START) {
      const found = FAULT.exec(text);
      if (found === null) return false;
      out.access(hex(found[1]!), this.#threadOf(hex(found[2]!)), found[3] === 'W');
      return true;
    }
    const found = (id === MIGRATE_START ? MIGRATION : UNMAP).exec(text);
    if (found === null) return false;
    const start = hex(found[1]!);
    const pages = hex(found[2]!);
    if (id === UNMAP_FROM_GPU) {
      if (Number(found[3]) === UNMAP_FROM_CPU && pages > 0)
        out.mapping({ kind: 'unmap', start, pages });
      return true;
    }
    const trigger = Number(found[5]);
    if (trigger !== TRIGGER_PREFETCH && trigger !== TRIGGER_PAGEFAULT_CPU) return true;
    const thread = this.#threadOf(hex(found[4]!));
    for (let i = 0; i < pages; i++) out.access(start + i, thread, false);
    return true;
  }

  #threadOf(node: number): number {
    let thread = this.#threads.get(node);
    if (thread === undefined) {
      thread = this.#threads.size;
      this.#threads.set(node, thread);
    }
    return thread;
  }

  #refuse(bytes: Uint8Array, offset: number): never {
    const found = quoted(bytes);
    throw badTrace(
      offset,
      `expected a KFD event, its number first in hexadecimal; found ${found}`,
      this.#lines + 1,
    );
  }
}

function hex(text: string): number {
  return Number.parseInt(text, 16);
}
