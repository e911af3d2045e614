/**
 * What the program language is made of: operations, their arguments, and the drivers that add
 * their own.
 *
 * The language knows no driver. A driver hands in a `DriverFactory`: how its device is written in
 * the header of a program, how to make one, and the operations it adds.
 */
import type { Driver, OpenFile } from '../core/driver.ts';
import type { Era, EraName } from '../core/era.ts';
import type { FaultSite } from '../core/fault-plan.ts';
import type { Machine } from '../core/machine.ts';
import type { Process } from '../core/process.ts';
import type { Task } from '../core/sched/task.ts';
import type { Va } from '../core/units.ts';
import type { Expectation } from './expectation.ts';
import type { HeldPages } from './held-pages.ts';

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** Fields of a result, in the order in which they are printed. */
export type Result = Readonly<Record<string, Json>>;

// --- Arguments ------------------------------------------------------------------------------

/** What is known, without running anything, where an argument stands. */
export interface Scope {
  readonly machine: MachineSpec;
  /** The process of the operation. */
  readonly process: number;
  /** Processes that were made so far, those that exited too. */
  wasForked(process: number): boolean;
  /** An mmap or mremap that this process (or its parent, before the fork) ran names the buffer. */
  knowsBuffer(id: number): boolean;
}

/** How one argument is written and checked. `parse` answers undefined for what it refuses. */
export interface ArgSpec<T> {
  readonly name: string;
  /** May be left out; only at the end. The operation then gets undefined. */
  readonly optional?: boolean;
  parse(word: string, scope: Scope): T | undefined;
  /** What should have stood there: "a device number, 0 to 3". */
  expected(scope: Scope): string;
  /** The argument brings a buffer into being: mmap, mremap. */
  readonly names?: 'buffer';
}

/** The values that a list of arguments yields. */
export type ArgValues<A extends readonly ArgSpec<unknown>[]> = {
  readonly [K in keyof A]: A[K] extends ArgSpec<infer T> ? T : never;
};

// --- Operations -----------------------------------------------------------------------------

/** A range of pages that a process knows by a number. */
export interface Buffer {
  readonly address: Va;
  readonly pages: number;
}

/** A process of a program: 0 is the first, the others are its children. */
export interface ProgramProcess {
  readonly number: number;
  readonly process: Process;
  /** Every process has its own; a child starts with a copy. */
  readonly buffers: Map<number, Buffer>;
  /** What the process opened of each device. */
  readonly files: ReadonlyMap<DeviceDriver, OpenFile>;
}

/** What an operation may look at and change while it runs. */
export interface ProgramContext {
  readonly machine: Machine;
  /** The process that runs the operation. */
  readonly current: ProgramProcess;
  /** Processes alive, by number. */
  readonly processes: ReadonlyMap<number, ProgramProcess>;
  /** Pages that the program locks or pins on purpose. */
  readonly held: HeldPages;
  /** The machine's devices of one class, in the order of the header: `ctx.devices(Dmirror)[1]`. */
  devices<D extends DeviceDriver>(kind: DeviceClass<D>): readonly D[];
  /** What the current process opened of `device`: what its `open` returned. */
  file<F extends OpenFile>(device: DeviceDriver & { open(proc: Process): F }): F;
  /** First byte of page `offset` of a buffer; a buffer that is nowhere starts at address 0. */
  address(buffer: number, offset: number): Va;
  /** Makes process `number` as a child of process 0, with all devices opened anew. */
  fork(number: number): Task<number>;
  /** Ends the current process. */
  exit(): Task<void>;
  /** The `n`-th attempt at `site` from now fails (1 is the next); forgotten when the program ends. */
  fail(site: FaultSite, n: number): void;
}

export interface Operation {
  readonly name: string;
  /** One line for people: "the CPU reads the first word of each page". */
  readonly summary: string;
  readonly args: readonly ArgSpec<unknown>[];
  /** Which processes may run it: any (the default), only process 0, or only its children. */
  readonly by?: 'parent' | 'child';
  /** What it does to the processes of a program, so that it can be checked beforehand. */
  readonly effect?: 'fork' | 'exit';
  run(ctx: ProgramContext, args: readonly unknown[]): Task<Result>;
}

/** An operation whose `run` knows the types of its arguments; see `operation`. */
export interface TypedOperation<A extends readonly ArgSpec<unknown>[]> {
  readonly name: string;
  readonly summary: string;
  readonly args: A;
  readonly by?: 'parent' | 'child';
  readonly effect?: 'fork' | 'exit';
  run(ctx: ProgramContext, args: ArgValues<A>): Task<Result>;
}

/**
 * Declares an operation:
 *
 *     operation({
 *       name: 'dev_read',
 *       summary: 'the device reads the pages',
 *       args: [deviceArg('dmirror'), bufferArg(), offsetArg(), pagesArg()],
 *       *run(ctx, [device, buffer, offset, pages]) {
 *         const file = ctx.file(ctx.devices(Dmirror)[device]!);
 *         return { ret: errnoName(yield* file.read(ctx.address(buffer, offset), pages)) };
 *       },
 *     })
 */
export function operation<const A extends readonly ArgSpec<unknown>[]>(
  typed: TypedOperation<A>,
): Operation {
  return typed as unknown as Operation;
}

// --- Drivers --------------------------------------------------------------------------------

/** A driver whose device a process can open, as a file under /dev. */
export interface DeviceDriver extends Driver {
  /** Opens the device for `proc`. The runner does so for process 0 and for every child. */
  open(proc: Process): OpenFile;
}

export type DeviceClass<D extends DeviceDriver> = abstract new (...args: never[]) => D;

/** How an option of a device is written in the header. Sizes are in bytes. */
export type OptionSpec =
  /** A bare word, first or anywhere: `private`. Without a default it must be there. */
  | {
      readonly kind: 'choice';
      readonly name: string;
      readonly choices: readonly string[];
      readonly default?: string;
    }
  /** `chunk 256MiB`: name, then a number with KiB, MiB or GiB; a multiple of `multipleOf`. */
  | {
      readonly kind: 'size';
      readonly name: string;
      readonly min: number;
      readonly max: number;
      readonly multipleOf: number;
      readonly default: number;
    }
  /** `labs 4` */
  | {
      readonly kind: 'count';
      readonly name: string;
      readonly min: number;
      readonly max: number;
      readonly default: number;
    }
  /** `owners 0,1,2,0`: numbers with commas, each between min and max. */
  | {
      readonly kind: 'list';
      readonly name: string;
      readonly min: number;
      readonly max: number;
      readonly default: readonly number[];
    }
  /** `defects late_unlock,no_retry`: some of the words, with commas; none of them by default. */
  | {
      readonly kind: 'flags';
      readonly name: string;
      readonly choices: readonly string[];
    };

export type OptionValue = number | string | readonly number[] | readonly string[];
/** Every option of the driver has a value here, given or default. */
export type Options = Readonly<Record<string, OptionValue>>;

/** Options that do not fit each other. */
export interface OptionProblem {
  readonly expected: string;
  readonly found: string;
}

/** What a driver gives to the program language. */
export interface DriverFactory<D extends DeviceDriver = DeviceDriver> {
  /** As written after `device`: "dmirror". */
  readonly name: string;
  readonly summary: string;
  readonly options: readonly OptionSpec[];
  /** So many of them fit in a machine; any number if not given. */
  readonly max?: number;
  /** Options that are fine alone but not together. */
  check?(options: Options): OptionProblem | null;
  /** The first era in which such a device can exist; any if not given. */
  since?(options: Options): EraName | null;
  create(options: Options): D;
  readonly operations: readonly Operation[];
}

// --- The machine a program asks for -----------------------------------------------------------

export interface DeviceSpec {
  readonly driver: string;
  readonly options: Options;
}

/** Rules that a header sets otherwise than its era has them. */
export type RuleChanges = Readonly<Partial<Omit<Era, 'name'>>>;

export interface MachineSpec {
  readonly era: EraName;
  /** Left out where the header sets none. */
  readonly rules?: RuleChanges;
  readonly ramBytes: number;
  /** Bytes of a page. */
  readonly pageSize: number;
  /** In the order in which they are attached and opened. */
  readonly devices: readonly DeviceSpec[];
}

// --- Programs ---------------------------------------------------------------------------------

/** One operation of a program. */
export interface Step {
  readonly line: number;
  readonly process: number;
  readonly operation: Operation;
  /** As written. */
  readonly words: readonly string[];
  /** As the operation takes them. */
  readonly values: readonly unknown[];
  /** Position among the steps of the program. */
  readonly index: number;
  /** The thread that runs it; null for the main thread. */
  readonly thread: string | null;
  /** Number of the parallel block it belongs to, from 0; null outside of blocks. */
  readonly block: number | null;
  /** The name its result is kept under, or null. */
  readonly label: string | null;
}

export interface Program {
  readonly name: string;
  readonly line: number;
  /** In the order of the text; those of a block follow each other, thread by thread. */
  readonly steps: readonly Step[];
  /** In the order of the text. */
  readonly expects: readonly Expectation[];
}

/** A text of programs, checked. */
export interface ProgramText {
  readonly machine: MachineSpec;
  readonly programs: readonly Program[];
}
