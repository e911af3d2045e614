/** Runs a whole program: its operations, its blocks and what it expects. */
import { SimError } from '../core/errors.ts';
import type { Machine } from '../core/machine.ts';
import { asksFor, checkExpectation, type ExpectationResult } from './expectation.ts';
import { ProgramRunner, type StepResult } from './run.ts';
import type { Program, Result, Step } from './types.ts';

export interface RunHooks {
  /**
   * Called after every operation, and before the next of the same thread; in a block other threads
   * may be in the midst of theirs.
   */
  afterStep?(runner: ProgramRunner, done: StepResult): void;
  /** Called for every `expect`. Without it one that does not hold throws (`expectation`). */
  afterExpect?(runner: ProgramRunner, result: ExpectationResult): void;
  /** An operation ended in an error, which is thrown next. */
  failed?(step: Step, error: unknown): void;
  /** Called after the last operation, while the processes still live. */
  beforeEnd?(runner: ProgramRunner): void;
}

export interface RunOptions {
  /**
   * Positions of steps to leave out; with a fork goes all that its process does, and with a step
   * the expects that ask for its result.
   */
  readonly omitted?: ReadonlySet<number>;
  /** Passes over the steps of a process whose fork failed; they are an error otherwise. */
  readonly skipAbsent?: boolean;
}

const NONE: ReadonlySet<number> = new Set();

/**
 * Runs a program operation by operation; its processes end when it ends or the caller stops.
 * Results come in the order in which the operations end, those of a block when all of it is done.
 */
export function* runProgram(
  machine: Machine,
  program: Program,
  hooks: RunHooks = {},
  options: RunOptions = {},
): Generator<StepResult, void, undefined> {
  const run = new ProgramRun(machine, program, hooks, options);
  let failed = true;
  try {
    for (let results = run.next(); results !== null; results = run.next()) {
      failed = false;
      yield* results;
      failed = true;
    }
    run.end();
    failed = false;
  } finally {
    // After an error the machine may be in any state: whoever catches it makes a new one.
    if (!failed) run.runner.finish();
  }
}

/** One run of a program, an operation or a block at a time. */
class ProgramRun {
  readonly runner: ProgramRunner;
  readonly #program: Program;
  readonly #hooks: RunHooks;
  readonly #omitted: ReadonlySet<number>;
  readonly #skipAbsent: boolean;
  #nextStep = 0;
  #nextExpect = 0;

  constructor(machine: Machine, program: Program, hooks: RunHooks, options: RunOptions) {
    const { omitted = NONE, skipAbsent = false } = options;
    this.runner = new ProgramRunner(machine);
    this.#program = program;
    this.#hooks = hooks;
    this.#omitted = omitted.size === 0 ? NONE : withDependents(program, omitted);
    this.#skipAbsent = skipAbsent;
  }

  /** The results of the next operation, or of a whole block; null after the last. */
  next(): readonly StepResult[] | null {
    const { steps } = this.#program;
    this.#checkExpects();
    const step = steps[this.#nextStep];
    if (step === undefined) return null;
    if (step.block !== null) return this.#block(step.block);
    this.#nextStep++;
    if (this.#skips(step)) return [];
    return [this.#step(step)];
  }

  end(): void {
    this.runner.letGo();
    this.#hooks.beforeEnd?.(this.runner);
  }

  #step(step: Step): StepResult {
    let result: Result;
    try {
      result = this.runner.step(step);
    } catch (error) {
      this.#hooks.failed?.(step, error);
      throw error;
    }
    const done = { step, result };
    this.#hooks.afterStep?.(this.runner, done);
    return done;
  }

  #block(block: number): readonly StepResult[] {
    const { runner } = this;
    const steps = blockAt(this.#program, this.#nextStep);
    this.#nextStep += steps.length;
    const left = steps.filter((step) => !this.#omitted.has(step.index));
    const results: StepResult[] = [];
    const listener = (done: StepResult): void => {
      results.push(done);
      this.#hooks.afterStep?.(runner, done);
    };
    try {
      if (left.length > 0) runner.block(left, listener, (step) => this.#skips(step));
    } catch (error) {
      const failing = runner.failing ?? left.find((step) => step.block === block)!;
      this.#hooks.failed?.(failing, error);
      throw error;
    }
    return results;
  }

  #skips(step: Step): boolean {
    return this.#omitted.has(step.index) || (this.#skipAbsent && !this.runner.canRun(step));
  }

  #checkExpects(): void {
    const { expects } = this.#program;
    for (; this.#nextExpect < expects.length; this.#nextExpect++) {
      const expectation = expects[this.#nextExpect]!;
      if (expectation.after > this.#nextStep) return;
      if (this.#omitted.size > 0 && asksFor(expectation, this.#omitted)) continue;
      this.#tell(checkExpectation(this.runner, expectation));
    }
  }

  #tell(result: ExpectationResult): void {
    if (this.#hooks.afterExpect !== undefined) this.#hooks.afterExpect(this.runner, result);
    else if (!result.holds) throw expectationError(result);
  }
}

/** The steps of the block that begins at a position. */
export function blockAt({ steps }: Program, start: number): readonly Step[] {
  const { block } = steps[start]!;
  let end = start;
  while (end < steps.length && steps[end]!.block === block) end++;
  return steps.slice(start, end);
}

/** Steps that cannot be without those that are left out, and these. */
export function withDependents(
  { steps }: Program,
  omitted: ReadonlySet<number>,
): ReadonlySet<number> {
  const gone = new Set(omitted);
  const neverForked = new Set<number>();
  for (const { index, process, operation, values } of steps) {
    if (neverForked.has(process)) gone.add(index);
    if (operation.effect === 'fork' && gone.has(index)) neverForked.add(values[0] as number);
  }
  return gone;
}

export function expectationError({ expectation, found }: ExpectationResult): SimError {
  const { line, text } = expectation;
  return new SimError('expectation', `line ${line}: expected ${text}; found ${found}`, {
    line,
    expected: text,
    found,
  });
}
