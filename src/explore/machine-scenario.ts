/** A workload in TypeScript, to be searched for races. */
import { leakedMemory } from '../core/leaks.ts';
import type { Machine, MachineOptions } from '../core/machine.ts';
import type { StateHash } from '../core/state-hash.ts';
import { addMachine, withoutFingerprint } from './fingerprint.ts';
import { Learning } from './learning.ts';
import { LostWrites } from './lost-writes.ts';
import { addFindings, listen, type ScenarioChecks } from './program-scenario.ts';
import type { Failure, RunContext, Scenario, Verdict } from './types.ts';

/** What one run of a workload is made of. */
export interface MachineRun {
  readonly machine: Machine;
  /** What is wrong when all its threads have ended, a line each; empty if all is well. */
  check?(): readonly string[];
  /** The outcome in words; equal words are equal outcomes. The empty text unless given. */
  state?(): string;
  /** What the rest of the run depends on beyond machine and threads, such as results so far. */
  fingerprint?(hash: StateHash): void;
}

export interface MachineScenarioOptions {
  readonly name: string;
  /**
   * Makes a machine with these options (and more of one's own), prepares it, and spawns the threads
   * that are to race. Whatever is prepared with `machine.run` before them has no choices. An
   * operation of a thread that is over should be told with `ended`: livelock is that none is.
   */
  build(options: MachineOptions, ended: (result: string) => void): MachineRun;
  /** What tokens hold for; the name unless given. Change it when the workload changes. */
  readonly identity?: string;
  readonly checks?: ScenarioChecks;
}

/** A workload as something to explore: each run builds its machine anew. */
export function machineScenario(options: MachineScenarioOptions): Scenario {
  return new MachineScenario(options);
}

class MachineScenario implements Scenario {
  readonly name: string;
  readonly identity: string;
  readonly operations = 0;
  readonly cannotPrune: string | null;
  readonly #options: MachineScenarioOptions;

  constructor(options: MachineScenarioOptions) {
    this.name = options.name;
    this.identity = options.identity ?? options.name;
    this.#options = options;
    this.cannotPrune = withoutFingerprint(options.build({}, () => {}).machine);
  }

  execute(run: RunContext): Verdict {
    const { build, checks = {} } = this.#options;
    const { lockOrder = true, verify = true, leaks = true, lostWrites = true } = checks;
    const options = { explorer: run.explorer, checkLockOrder: lockOrder };
    let made: Machine | null = null;
    const built = build(options, (result) => {
      if (made !== null) run.ended(made.scheduler.current, result);
    });
    const { machine } = built;
    made = machine;
    // What was stored before this is not known: a word counts from its first access on.
    const watch = lostWrites ? new LostWrites(machine) : null;
    watch?.startLate();
    machine.kernel.watch = watch;
    machine.kernel.faults = run.faults;
    if (run.listening) listen(machine, run);
    if (run.fingerprinting) {
      machine.kernel.watch = new Learning(machine, run, watch);
      run.watch((hash, exactSequences) => {
        addMachine(machine, hash, exactSequences);
        built.fingerprint?.(hash);
        watch?.fingerprint(hash);
      });
    }
    machine.runAll();
    machine.kernel.faults = null;
    const failures: Failure[] = (built.check?.() ?? []).map((message) => ({
      kind: 'expectation',
      message,
      detail: [],
    }));
    const state = built.state?.() ?? '';
    if (verify) addFindings(machine, 'at the end', failures);
    watch?.atRest();
    failures.push(...(watch?.failures ?? []));
    for (const proc of [...machine.processes.values()].reverse()) machine.run(proc.exitTask());
    if (leaks) {
      for (const message of leakedMemory(machine)) {
        failures.push({ kind: 'leak', message, detail: [] });
      }
    }
    if (verify) addFindings(machine, 'after every process ended', failures);
    return { failures, state, points: run.points };
  }
}
