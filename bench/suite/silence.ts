/** Target 6: what it costs that somebody could listen. */
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { costOf, expectEqual, interleave } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';

type Library = typeof import('../../src/index.ts');

const PAGES = 16_384;
/** Of a sample. */
const TRIPS = 2;
const ROUNDS_MIN = 15;
/**
 * Pairs of copies, each compiled and optimized for itself: how a JavaScript engine compiles the same
 * code twice differs by more than what is looked for.
 */
const PAIRS = 4;

/** "Does anybody listen?", as the sources ask it. */
const GUARD = /(?<![\w.#$])(?:[\w$]+\.)*#?(?:[\w$]+\.)*[\w$]+\.listening\b(?!\s*=[^=])/g;

/** A copy of the compiled sources; a deaf one answers every such question with `false`. */
function copySources(name: string, deaf: boolean): { readonly url: string; guards: number } {
  const from = fileURLToPath(new URL('../../src', import.meta.url));
  const to = fileURLToPath(new URL(`../../${name}`, import.meta.url));
  if (!existsSync(join(from, 'index.js'))) throw new Error('this runs from the compiled copy');
  cpSync(from, to, { recursive: true });
  const copy = { url: pathToFileURL(join(to, 'index.js')).href, guards: 0 };
  for (const folder of deaf ? ['core', 'hw', 'drivers', 'program'] : []) {
    for (const file of readdirSync(join(to, folder), { recursive: true }) as string[]) {
      if (!file.endsWith('.js') || file.endsWith('listeners.js')) continue;
      const path = join(to, folder, file);
      const text = readFileSync(path, 'utf8').replace(GUARD, () => {
        copy.guards++;
        return 'false';
      });
      writeFileSync(path, text);
    }
  }
  return copy;
}

/** Round trips by faults, with the classes of one of the two copies; nanoseconds each. */
function roundTrips({ Machine, Dmirror, MiB }: Library): () => number {
  const machine = new Machine({ ramBytes: 256 * MiB });
  const device = machine.attach(new Dmirror({ chunkBytes: 64 * MiB }));
  const proc = machine.createProcess();
  const file = device.open(proc);
  const buffer = proc.mmap({ pages: PAGES });
  for (let i = 0; i < PAGES; i++) proc.store32(buffer + i * 4096, i + 1);
  return () =>
    costOf(PAGES * TRIPS, () => {
      for (let trip = 0; trip < TRIPS; trip++) {
        expectEqual('pages migrated', file.migrateToDev(buffer, PAGES).cpages, PAGES);
        let sum = 0;
        for (let i = 0; i < PAGES; i++) sum += proc.load32(buffer + i * 4096);
        expectEqual('sum of the pages', sum, (PAGES * (PAGES + 1)) / 2);
      }
    });
}

const NAME = 'round trips by faults, nobody listening';

export const SILENCE: Measurement = {
  name: 'silence',
  section: '6',
  figures: [
    {
      name: NAME,
      unit: ' ns',
      better: 'less',
      targets: [{ bound: 1.02, on: 'ratio' }],
      note: 'against the same sources, compiled without the question whether anybody listens',
    },
  ],
  async run({ rounds }) {
    const things: Record<string, () => number> = {};
    let guards = 0;
    for (let i = 0; i < PAIRS; i++) {
      for (const what of ['guarded', 'deaf'] as const) {
        const copy = copySources(`${what}${i}`, what === 'deaf');
        guards = Math.max(guards, copy.guards);
        things[`${what}${i}`] = roundTrips((await import(copy.url)) as Library);
      }
    }
    if (guards < 20) throw new Error(`only ${guards} guards found: has their name changed?`);
    const got = await interleave(Math.max(rounds, ROUNDS_MIN), things, 6);
    const all = (what: string): number[] =>
      Array.from({ length: PAIRS }, (_, i) => got[`${what}${i}`]!).flat();
    const yardstick = { name: 'ns, without guards', samples: all('deaf') };
    return [
      {
        name: NAME,
        samples: all('guarded'),
        yardstick,
        detail: `${guards} places, ${PAIRS} pairs of copies`,
      },
    ];
  },
};
