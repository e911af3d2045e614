/** What the endurance run does, turn after turn, on machines that stay. */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ERAS, type EraName } from '../../src/core/era.ts';
import {
  LANGUAGE,
  type ProgramReport,
  parseRecording,
  Recorder,
  replayRecording,
} from '../../src/index.ts';
import { readText } from '../../src/node/index.ts';
import { MIXES } from '../../src/workloads/mixes/index.ts';
import { Player, parseRule } from '../../src/workloads/play/index.ts';
import { fuzzMixed } from '../fuzz/mixed/fuzz.ts';

const RECORDINGS = fileURLToPath(new URL('../recordings/', import.meta.url));
const MIXED_PROGRAMS = 20;
const RECORDED_PROGRAMS = 60;
const MIX_ACCESSES = 20_000;
const MIX_PAGES = 400;
const DEVICES = 3;
/** Every so many turns somebody listens, or records. */
const LISTEN_EVERY = 5;
const RECORD_EVERY = 7;

export interface Counts {
  turns: number;
  /** Operations of programs, and accesses of mixes. */
  operations: number;
  programs: number;
  accesses: number;
  /** Records that listeners and recorders got. */
  records: number;
}

/** What went wrong, and where. */
export class SoakError extends Error {
  override readonly name = 'SoakError';
}

export class Turns {
  readonly counts: Counts = { turns: 0, operations: 0, programs: 0, accesses: 0, records: 0 };
  readonly #seed: number;
  /** Machines that live as long as the run. */
  readonly #players: readonly Player[];
  #recorded: Generator<ProgramReport, void, undefined> | null = null;
  #recordings = 0;

  constructor(seed: number) {
    this.#seed = seed;
    // v5.6 loses contents by its nature.
    const eras = ERAS.map(({ name }) => name).filter((name) => name !== 'v5.6');
    this.#players = eras.flatMap((era) => [newPlayer(era, 'nouveau'), newPlayer(era, 'dmirror')]);
  }

  /** Throws a `SoakError` at the first thing that is wrong. */
  turn(): void {
    const { counts } = this;
    this.#mixed();
    this.#recordedPrograms();
    this.#play();
    counts.turns++;
  }

  /** Checks every machine that stays. */
  verify(): void {
    for (const player of this.#players) {
      const findings = player.machine.verify({ full: true });
      if (findings.length > 0)
        throw new SoakError(`verify, ${nameOf(player)}: ${findings[0]!.message}`);
    }
  }

  /** Random programs on new machines with GPUs, dmirrors and a secure guest, against a model. */
  #mixed(): void {
    const { turns } = this.counts;
    const { name: era } = ERAS[turns % ERAS.length]!;
    const seed = (this.#seed + turns * MIXED_PROGRAMS) % 0x7fff_0000;
    const { stats, failure } = fuzzMixed({ era, programs: MIXED_PROGRAMS, seed, operations: 40 });
    this.counts.programs += stats.programs;
    this.counts.operations += stats.operations;
    if (failure !== null) {
      throw new SoakError(
        `program of seed ${failure.seed} in ${era}: ${failure.finding}\n${failure.program}`,
      );
    }
  }

  /** Programs that a kernel ran, one after the other on one machine, against what it answered. */
  #recordedPrograms(): void {
    for (let i = 0; i < RECORDED_PROGRAMS; i++) {
      this.#recorded ??= this.#nextRecording();
      const next = this.#recorded.next();
      if (next.done === true) {
        this.#recorded = null;
        continue;
      }
      const { difference, operations, program } = next.value;
      if (difference !== null)
        throw new SoakError(`${difference.file}: ${program} answers otherwise`);
      this.counts.programs++;
      this.counts.operations += operations;
    }
  }

  #nextRecording(): Generator<ProgramReport, void, undefined> {
    const files = readdirSync(RECORDINGS).filter((name) => name.endsWith('.jsonl.gz'));
    const file = files[this.#recordings++ % files.length]!;
    return replayRecording(parseRecording(readText(RECORDINGS + file), file, LANGUAGE), LANGUAGE);
  }

  /** A mix on a machine that stays, whose processes fork, with and without somebody who listens. */
  #play(): void {
    const { counts } = this;
    const { turns } = counts;
    const player = this.#players[turns % this.#players.length]!;
    const { machine, proc } = player;
    const mixes = [...MIXES.values()];
    const mix = mixes[turns % mixes.length]!;
    const hear = (): void => void counts.records++;
    if (turns % LISTEN_EVERY === 0) machine.events.on('*', hear);
    const recorder = turns % RECORD_EVERY === 0 ? new Recorder(machine) : null;
    const options = { pages: MIX_PAGES, devices: DEVICES, accesses: MIX_ACCESSES };
    mix.generate({ ...options, seed: this.#seed + turns }, player);
    player.end();
    const child = proc.fork();
    mix.generate({ ...options, accesses: 2000, seed: this.#seed + turns }, player);
    player.end();
    child.exit();
    if (turns % LISTEN_EVERY === 0) machine.events.off('*', hear);
    if (recorder !== null) counts.records += recorder.stop().length;
    counts.accesses += MIX_ACCESSES + 2000;
    counts.operations += MIX_ACCESSES + 2000;
    if (player.mismatches > 0) {
      throw new SoakError(
        `${mix.name}, ${nameOf(player)}: ${player.mismatches} loads found something else`,
      );
    }
  }
}

function newPlayer(era: EraName, driver: 'nouveau' | 'dmirror'): Player {
  const rule = parseRule('thread', DEVICES, 4096);
  return new Player({ driver, era, devices: DEVICES, rule, devicePages: 100 });
}

function nameOf({ machine, options }: Player): string {
  return `${options.driver} in ${machine.era.name}`;
}
