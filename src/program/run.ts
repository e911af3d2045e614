/** Runs programs: builds the machine that a header asks for, and processes for each program. */
import type { OpenFile } from '../core/driver.ts';
import type { Era } from '../core/era.ts';
import { ENOMEM } from '../core/errno.ts';
import { SimError } from '../core/errors.ts';
import { toldCall } from '../core/events/call.ts';
import type { CallInfo } from '../core/events/types.ts';
import { Machine } from '../core/machine.ts';
import type { Process } from '../core/process.ts';
import type { Task } from '../core/sched/task.ts';
import type { Va } from '../core/units.ts';
import type { Language } from './language.ts';
import type {
  Buffer,
  DeviceClass,
  DeviceDriver,
  MachineSpec,
  Program,
  ProgramContext,
  ProgramProcess,
  Result,
  Step,
} from './types.ts';

/**
 * A machine with its devices attached, as a header describes it. `era`, if given, is a table of
 * rules that stands in the place of the header's era.
 */
export function buildMachine(spec: MachineSpec, language: Language, era?: Era): Machine {
  const { ramBytes, pageSize } = spec;
  const machine = new Machine({ era: era ?? spec.era, ramBytes, pageSize });
  for (const { driver, options } of spec.devices) {
    const factory = language.drivers.get(driver);
    if (factory === undefined) {
      throw new SimError('bad-argument', `no driver is named ${driver}`, { driver });
    }
    machine.attach(factory.create(options));
  }
  return machine;
}

/** The processes of one program on a machine, and the operations they run. */
export class ProgramRunner implements ProgramContext {
  readonly machine: Machine;
  readonly processes: Map<number, ProgramProcess> = new Map();
  current: ProgramProcess;
  readonly #devicesByClass: Map<unknown, readonly DeviceDriver[]> = new Map();

  /** Makes process 0, which opens every device. */
  constructor(machine: Machine) {
    this.machine = machine;
    this.current = this.#enter(0, machine.createProcess(), new Map());
  }

  devices<D extends DeviceDriver>(kind: DeviceClass<D>): readonly D[] {
    let found = this.#devicesByClass.get(kind);
    if (found === undefined) {
      found = this.machine.drivers.filter((driver): driver is D => driver instanceof kind);
      this.#devicesByClass.set(kind, found);
    }
    return found as readonly D[];
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

  *fork(number: number): Task<number> {
    const parent = this.processes.get(0)!;
    const child = yield* parent.process.forkTask();
    if (typeof child === 'number') return child;
    this.#enter(number, child, new Map(parent.buffers));
    return 0;
  }

  *exit(): Task<void> {
    yield* this.current.process.exitTask();
    this.processes.delete(this.current.number);
  }

  /** Runs one operation and returns its results. */
  step(step: Step): Result {
    const current = this.processes.get(step.process);
    if (current === undefined) {
      // Its fork failed: there is no memory for it.
      throw new SimError('limit', `process ${step.process} does not exist: its fork failed`, {
        errno: -ENOMEM,
      });
    }
    this.current = current;
    const { kernel } = this.machine;
    const task = step.operation.run(this, step.values);
    if (!kernel.events.listening) return this.machine.run(task);
    return this.machine.run(toldCall(kernel, lineOf(step), task, () => 0));
  }

  /** Ends the children, in the order of their numbers, and then process 0. */
  finish(): void {
    const last = this.processes.get(0);
    this.processes.delete(0);
    const children = [...this.processes.keys()].sort((a, b) => a - b);
    for (const number of children) this.#leave(number);
    if (last !== undefined) this.machine.run(last.process.exitTask());
  }

  #leave(number: number): void {
    const { process: proc } = this.processes.get(number)!;
    this.processes.delete(number);
    this.machine.run(proc.exitTask());
  }

  #enter(number: number, proc: Process, buffers: Map<number, Buffer>): ProgramProcess {
    const files: Map<DeviceDriver, OpenFile> = new Map();
    for (const driver of this.machine.drivers) {
      if (!isDevice(driver)) continue;
      const file = driver.open(proc);
      proc.openFiles.add(file);
      files.set(driver, file);
    }
    const entered = { number, process: proc, buffers, files };
    this.processes.set(number, entered);
    return entered;
  }
}

/** A line of a program, for those who listen. */
function lineOf({ line, process: number, operation, words }: Step): CallInfo {
  const name = [`line ${line}:`, ...(number === 0 ? [] : [`@${number}`]), operation.name, ...words];
  return { actor: 'program', name: name.join(' '), mm: null, start: 0, end: 0 };
}

function isDevice(driver: object): driver is DeviceDriver {
  return 'open' in driver && typeof driver.open === 'function';
}

export interface StepResult {
  readonly step: Step;
  readonly result: Result;
}

export interface RunHooks {
  /** Called after every operation, and before the next. */
  afterStep?(runner: ProgramRunner, done: StepResult): void;
  /** Called after the last operation, while the processes still live. */
  beforeEnd?(runner: ProgramRunner): void;
}

/** Runs a program operation by operation; its processes end when it ends or the caller stops. */
export function* runProgram(
  machine: Machine,
  program: Program,
  hooks: RunHooks = {},
): Generator<StepResult, void, undefined> {
  const runner = new ProgramRunner(machine);
  let failed = true;
  try {
    for (const step of program.steps) {
      const done = { step, result: runner.step(step) };
      hooks.afterStep?.(runner, done);
      failed = false;
      yield done;
      failed = true;
    }
    hooks.beforeEnd?.(runner);
    failed = false;
  } finally {
    // After an error the machine may be in any state: whoever catches it makes a new one.
    if (!failed) runner.finish();
  }
}

/** One operation as recordings have it: names, arguments, results, in this order. */
export function resultLine(step: Step, result: Result): string {
  const args = step.words.map((word) => (/^-?\d{1,15}$/.test(word) ? Number(word) : word));
  const head = step.process === 0 ? {} : { proc: step.process };
  return JSON.stringify({ op: step.operation.name, ...head, args, ...result });
}
