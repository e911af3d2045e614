/** Runs one measurement and prints what came of it as JSON. Started by `runMeasurement`. */
import { SUITE } from '../suite/index.ts';
import { waitedSeconds } from './measure.ts';
import type { ChildAnswer } from './types.ts';

const [name, rounds, quick] = process.argv.slice(2);
const measurement = SUITE.find((one) => one.name === name);
if (measurement === undefined) throw new Error(`no measurement ${name}`);
const start = performance.now();
const sampled = await measurement.run({ rounds: Number(rounds), quick: quick === 'quick' });
const seconds = (performance.now() - start) / 1000;
const answer: ChildAnswer = { sampled, waited: waitedSeconds() / seconds };
process.stdout.write(`${JSON.stringify(answer)}\n`);
