/** Runs programs: builds the machine that a header asks for, and processes for each program. */
import type { OpenFile } from '../core/driver.ts';
import type { Era } from '../core/era.ts';
import { ENOMEM } from '../core/errno.ts';
import { SimError } from '../core/errors.ts';
import { toldCall } from '../core/events/call.ts';
import type { CallInfo } from '../core/events/types.ts';
import type { FaultSite } from '../core/fault-plan.ts';
import { Machine, type MachineOptions } from '../core/machine.ts';
import type { Process } from '../core/process.ts';
import { PREEMPT, type Task } from '../core/sched/task.ts';
import type { Thread } from '../core/sched/thread.ts';
import { WaitQueue } from '../core/sched/wait-queue.ts';
import type { StateHash } from '../core/state-hash.ts';
import type { Va } from '../core/units.ts';
import { HeldPages } from './held-pages.ts';
import type { Language } from './language.ts';
import { ProgramFaults } from './program-faults.ts';
import { eraOf } from './rules.ts';
import type {
  Buffer,
  DeviceClass,
  DeviceDriver,
  MachineSpec,
  ProgramContext,
  ProgramProcess,
  Result,
  Step,
} from './types.ts';

/** How a machine is watched and driven; what it consists of stands in its spec. */
export type BuildOptions = Omit<MachineOptions, 'era' | 'ramBytes' | 'pageSize'>;

/**
 * A machine with its devices attached, as a header describes it. `era`, if given, is a table of
 * rules that stands in the place of the header's era and rules.
 */
export function buildMachine(
  spec: MachineSpec,
  language: Language,
  era?: Era,
  options: BuildOptions = {},
): Machine {
  const { ramBytes, pageSize } = spec;
  const machine = new Machine({ ...options, era: era ?? eraOf(spec), ramBytes, pageSize });
  for (const { driver, options: own } of spec.devices) {
    const factory = language.drivers.get(driver);
    if (factory === undefined) {
      throw new SimError('bad-argument', `no driver is named ${driver}`, { driver });
    }
    machine.attach(factory.create(own));
  }
  return machine;
}

export interface StepResult {
  readonly step: Step;
  readonly result: Result;
}

/** Told of every operation when it ends. */
export type StepListener = (done: StepResult) => void;

/** Is a step passed over? */
export type SkipStep = (step: Step) => boolean;

const skipNone: SkipStep = () => false;

interface ThreadPlan {
  readonly listener: StepListener;
  readonly skips: SkipStep;
  readonly ended: () => void;
}

/** The processes of one program on a machine, and the operations they run. */
export class ProgramRunner {
  readonly machine: Machine;
  /** Processes alive, by number. */
  readonly processes: Map<number, ProgramProcess> = new Map();
  /** By position of the step; nothing for those that have not ended. */
  readonly results: (Result | undefined)[] = [];
  readonly held: HeldPages;
  /** Which step each thread of a block is at. */
  readonly stepOf: Map<Thread, Step> = new Map();
  /** The operation that ended in an error, or null. */
  failing: Step | null = null;
  readonly #contexts: Map<number, ProcessContext> = new Map();
  readonly #devicesByClass: Map<unknown, readonly DeviceDriver[]> = new Map();
  #faults: ProgramFaults | null = null;

  /** Makes process 0, which opens every device. */
  constructor(machine: Machine) {
    this.machine = machine;
    this.held = new HeldPages(machine);
    this.#enter(0, machine.createProcess(), new Map());
  }

  devices<D extends DeviceDriver>(kind: DeviceClass<D>): readonly D[] {
    let found = this.#devicesByClass.get(kind);
    if (found === undefined) {
      found = this.machine.drivers.filter((driver): driver is D => driver instanceof kind);
      this.#devicesByClass.set(kind, found);
    }
    return found as readonly D[];
  }

  *fork(number: number): Task<number> {
    const parent = this.processes.get(0)!;
    const child = yield* parent.process.forkTask();
    if (typeof child === 'number') return child;
    this.#enter(number, child, new Map(parent.buffers));
    return 0;
  }

  *exit({ number, process: proc }: ProgramProcess): Task<void> {
    yield* proc.exitTask();
    this.#forget(number);
  }

  fail(site: FaultSite, n: number): void {
    const { kernel } = this.machine;
    if (this.#faults === null) {
      this.#faults = new ProgramFaults(kernel.faults);
      kernel.faults = this.#faults;
    }
    this.#faults.after(site, n);
  }

  /** Does the process of the step live? Not if its fork failed. */
  canRun(step: Step): boolean {
    return this.#contexts.has(step.process);
  }

  /** Runs one operation, by itself, and returns its results. */
  step(step: Step): Result {
    const { scheduler } = this.machine;
    if (scheduler.slowLocks) scheduler.current.doing = stepLine(step);
    this.failing = step;
    const result = this.machine.run(this.#task(step));
    if (scheduler.owing) this.machine.run(scheduler.pay());
    this.failing = null;
    this.results[step.index] = result;
    return result;
  }

  /**
   * Runs a block: its threads at once, each with its steps in their order. `listener` is told of
   * each operation when it ends, in the task that ran it; `skips` says, when its turn comes, whether
   * a step is passed over.
   */
  block(steps: readonly Step[], listener: StepListener, skips: SkipStep = skipNone): void {
    const byThread: Map<string, Step[]> = new Map();
    for (const step of steps) {
      const own = byThread.get(step.thread!);
      if (own === undefined) byThread.set(step.thread!, [step]);
      else own.push(step);
    }
    const threads: Thread[] = [];
    const joined = new WaitQueue(
      this.machine.scheduler,
      () => `the end of ${threads.map(({ name }) => name).join(', ')}`,
      () => threads.filter(({ state }) => state !== 'done'),
    );
    let left = byThread.size;
    const ended = (): void => {
      left--;
      if (left === 0) joined.wakeAll();
    };
    for (const [name, own] of byThread) {
      const thread = this.machine.spawn(name, this.#thread(own, { listener, skips, ended }));
      thread.doing = stepLine(own[0]!);
      threads.push(thread);
    }
    this.machine.run(waitFor(joined, () => left === 0));
  }

  /** Adds to a hash what the future depends on beyond the machine: faults that are due, what is held. */
  fingerprint(hash: StateHash): void {
    this.#faults?.fingerprint(hash);
    this.held.fingerprint(hash);
  }

  /** Lets go of pages that the program holds on purpose, and forgets faults that are due. */
  letGo(): void {
    this.held.releaseAll();
    const { kernel } = this.machine;
    if (this.#faults !== null && kernel.faults === this.#faults) kernel.faults = this.#faults.outer;
    this.#faults = null;
  }

  /** Ends the children, in the order of their numbers, and then process 0. */
  finish(): void {
    this.letGo();
    const last = this.processes.get(0);
    this.processes.delete(0);
    const children = [...this.processes.keys()].sort((a, b) => a - b);
    for (const number of children) this.#leave(number);
    this.#contexts.clear();
    if (last !== undefined) this.machine.run(last.process.exitTask());
  }

  #leave(number: number): void {
    const { process: proc } = this.processes.get(number)!;
    this.#forget(number);
    this.machine.run(proc.exitTask());
  }

  #forget(number: number): void {
    this.processes.delete(number);
    this.#contexts.delete(number);
  }

  #enter(number: number, proc: Process, buffers: Map<number, Buffer>): void {
    const files: Map<DeviceDriver, OpenFile> = new Map();
    for (const driver of this.machine.drivers) {
      if (!isDevice(driver)) continue;
      const file = driver.open(proc);
      proc.openFiles.add(file);
      files.set(driver, file);
    }
    const entered = { number, process: proc, buffers, files };
    this.processes.set(number, entered);
    this.#contexts.set(number, new ProcessContext(this, entered));
  }

  #task(step: Step): Task<Result> {
    const context = this.#contexts.get(step.process);
    if (context === undefined) {
      // Its fork failed: there is no memory for it.
      throw new SimError('limit', `process ${step.process} does not exist: its fork failed`, {
        errno: -ENOMEM,
      });
    }
    const { kernel } = this.machine;
    const task = step.operation.run(context, step.values);
    return kernel.events.listening ? toldCall(kernel, callOf(step), task, () => 0) : task;
  }

  *#thread(steps: readonly Step[], { listener, skips, ended }: ThreadPlan): Task<void> {
    const { scheduler } = this.machine;
    const thread = scheduler.current;
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i]!;
      thread.doing = stepLine(step);
      this.stepOf.set(thread, step);
      if (i > 0 && scheduler.preempts && scheduler.overtaken('next operation', i)) yield PREEMPT;
      if (skips(step)) continue;
      const result = yield* this.#attempt(step);
      if (scheduler.owing) yield* scheduler.pay();
      this.results[step.index] = result;
      listener({ step, result });
    }
    thread.doing = '';
    this.stepOf.delete(thread);
    ended();
  }

  /** Remembers which operation of a block went wrong. */
  *#attempt(step: Step): Task<Result> {
    try {
      return yield* this.#task(step);
    } catch (error) {
      this.failing = step;
      throw error;
    }
  }
}

function* waitFor(queue: WaitQueue, isOver: () => boolean): Task<void> {
  while (!isOver()) yield queue;
}

/** What the operations of one process see. */
class ProcessContext implements ProgramContext {
  readonly machine: Machine;
  readonly current: ProgramProcess;
  readonly processes: ReadonlyMap<number, ProgramProcess>;
  readonly held: HeldPages;
  readonly #runner: ProgramRunner;

  constructor(runner: ProgramRunner, current: ProgramProcess) {
    this.machine = runner.machine;
    this.current = current;
    this.processes = runner.processes;
    this.held = runner.held;
    this.#runner = runner;
  }

  devices<D extends DeviceDriver>(kind: DeviceClass<D>): readonly D[] {
    return this.#runner.devices(kind);
  }

  file<F extends OpenFile>(device: DeviceDriver & { open(proc: Process): F }): F {
    const file = this.current.files.get(device);
    if (file === undefined) {
      throw new SimError(
        'bad-argument',
        `process ${this.current.number} has no ${device.name} open`,
      );
    }
    return file as F;
  }

  address(buffer: number, offset: number): Va {
    const start = this.current.buffers.get(buffer)?.address ?? 0;
    return start + offset * this.machine.pageSize;
  }

  fork(number: number): Task<number> {
    return this.#runner.fork(number);
  }

  exit(): Task<void> {
    return this.#runner.exit(this.current);
  }

  fail(site: FaultSite, n: number): void {
    this.#runner.fail(site, n);
  }
}

const stepLines: WeakMap<Step, string> = new WeakMap();

/** A step for reports: "line 7: @1 cpu_read 0 0 1". */
export function stepLine(step: Step): string {
  let text = stepLines.get(step);
  if (text === undefined) {
    const { line, process: number, operation, words } = step;
    const prefix = number === 0 ? [] : [`@${number}`];
    text = [`line ${line}:`, ...prefix, operation.name, ...words].join(' ');
    stepLines.set(step, text);
  }
  return text;
}

/** A line of a program, for those who listen. */
function callOf(step: Step): CallInfo {
  return { actor: 'program', name: stepLine(step), mm: null, start: 0, end: 0 };
}

function isDevice(driver: object): driver is DeviceDriver {
  return 'open' in driver && typeof driver.open === 'function';
}

/**
 * One operation as recordings have it: names, arguments, results, in this order. An operation of a
 * block also has its thread.
 */
export function resultLine(step: Step, result: Result): string {
  const args = step.words.map((word) => (/^-?\d{1,15}$/.test(word) ? Number(word) : word));
  const head = step.process === 0 ? {} : { proc: step.process };
  const thread = step.thread === null ? {} : { thread: step.thread };
  return JSON.stringify({ op: step.operation.name, ...head, ...thread, args, ...result });
}
