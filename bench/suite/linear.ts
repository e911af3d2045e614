/** Target 5: calls that walk memory take as long as there are resident pages. */
import { userFault } from '../../src/core/mm/fault.ts';
import { Dmirror } from '../../src/drivers/dmirror/index.ts';
import { Nouveau } from '../../src/drivers/nouveau/index.ts';
import { type Machine, PAGE_SIZE, type Process } from '../../src/index.ts';
import type { Sampled } from '../harness/figure.ts';
import { expectEqual, interleave, secondsOf } from '../harness/measure.ts';
import type { Measurement } from '../harness/types.ts';
import { chunkFor, newMachine, vramFor } from './lab.ts';

const FEW = 2 ** 14;
const MANY = 2 ** 20;
const MANY_QUICK = 2 ** 17;
/** How much more is mapped than resident in the sparse mappings. */
const SPARSE = 64;
/** So many times FEW for a sample. */
const REPEATS = 64;
/** Fewer, since each leaves a device behind that is gone. */
const REMOVALS = 8;

/** How resident pages lie in their mapping. */
interface Layout {
  readonly resident: number;
  readonly mapped: number;
  /** Pages from one resident page to the next. */
  readonly stride: number;
}

/** A machine on which pages of one layout come and go; its columns have grown after the first. */
class Bed {
  readonly layout: Layout;
  readonly machine: Machine = newMachine();

  constructor(layout: Layout) {
    this.layout = layout;
  }

  /** A process with its pages. */
  process(): { readonly proc: Process; readonly buffer: number } {
    const { resident, mapped, stride } = this.layout;
    const proc = this.machine.createProcess();
    const buffer = proc.mmap({ pages: mapped });
    const { mm } = proc;
    for (let i = 0; i < resident; i++) userFault(mm, buffer + i * stride * PAGE_SIZE, true);
    expectEqual('resident pages', mm.rssAnon, resident);
    return { proc, buffer };
  }
}

/** Each answers the seconds of the call alone, and leaves no process behind. */
const CALLS = {
  fork: (bed: Bed): number => {
    const { proc } = bed.process();
    let child: Process | null = null;
    const seconds = secondsOf(() => {
      child = proc.fork();
    });
    child!.exit();
    proc.exit();
    return seconds;
  },
  exit: (bed: Bed): number => {
    const { proc } = bed.process();
    return secondsOf(() => proc.exit());
  },
  munmap: (bed: Bed): number => {
    const { proc, buffer } = bed.process();
    const bytes = bed.layout.mapped * PAGE_SIZE;
    const seconds = secondsOf(() => expectEqual('munmap', proc.munmap(buffer, bytes), 0));
    proc.exit();
    return seconds;
  },
  'dmirror removal': (bed: Bed): number => {
    const { proc, buffer } = bed.process();
    const { resident } = bed.layout;
    const file = bed.machine.attach(new Dmirror({ chunkBytes: chunkFor(resident) })).open(proc);
    expectEqual('pages there', file.migrateToDev(buffer, resident).cpages, resident);
    const seconds = secondsOf(() => expectEqual('releaseChunks', file.releaseChunks().ret, 0));
    expectEqual('owner', bed.machine.ownerOf(proc, buffer), 'system');
    proc.exit();
    return seconds;
  },
  'nouveau removal': (bed: Bed): number => {
    const { proc, buffer } = bed.process();
    const { resident } = bed.layout;
    const gpu = bed.machine.attach(new Nouveau({ vramBytes: vramFor(resident) }));
    expectEqual('svmBind', gpu.svmBind(proc, buffer, resident * PAGE_SIZE), 0);
    expectEqual('owner', bed.machine.ownerOf(proc, buffer), gpu);
    const seconds = secondsOf(() => expectEqual('remove', gpu.remove(), 0));
    expectEqual('owner', bed.machine.ownerOf(proc, buffer), 'system');
    proc.exit();
    return seconds;
  },
} as const;

type Call = keyof typeof CALLS;

const ALL = Object.keys(CALLS) as Call[];
/** Those that may meet holes; a migration fills them with pages of the device. */
const WALKS: readonly Call[] = ['fork', 'exit', 'munmap'];

/** Nanoseconds a resident page. */
function cost(call: Call, bed: Bed): number {
  const repeats = bed.layout.resident !== FEW ? 1 : WALKS.includes(call) ? REPEATS : REMOVALS;
  let seconds = 0;
  for (let i = 0; i < repeats; i++) seconds += CALLS[call](bed);
  return (seconds * 1e9) / (bed.layout.resident * repeats);
}

const dense = (pages: number): Layout => ({ resident: pages, mapped: pages, stride: 1 });
const IN_FRONT: Layout = { resident: FEW, mapped: FEW * SPARSE, stride: 1 };
const SCATTERED: Layout = { resident: FEW, mapped: FEW * SPARSE, stride: SPARSE };

const manyName = (call: Call): string => `${call}: a page of 2^20`;
const frontName = (call: Call): string => `${call}: a page, 64 times more mapped behind`;
const scatteredName = (call: Call): string => `${call}: a page, one in 64 mapped`;
const FEW_NAME = 'ns, a page of 2^14, all resident';

const common = { unit: ' ns', better: 'less' } as const;
const targets = [{ bound: 1.3, on: 'ratio' }] as const;

export const LINEAR: Measurement = {
  name: 'linear',
  section: '5',
  figures: [
    ...ALL.map((call) => ({
      ...common,
      targets,
      name: manyName(call),
      note: 'linear in resident pages: each costs the same',
    })),
    ...WALKS.map((call) => ({
      ...common,
      targets,
      name: frontName(call),
      note: '2^14 resident pages in a mapping of 2^20, side by side',
    })),
    ...WALKS.map((call) => ({
      ...common,
      targets: [],
      name: scatteredName(call),
      note: '2^14 resident pages in a mapping of 2^20, far apart: eight in each page of the table',
    })),
  ],
  async run({ rounds, quick }) {
    const sampled: Sampled[] = [];
    for (const call of ALL) {
      const few = new Bed(dense(FEW));
      const many = new Bed(dense(quick ? MANY_QUICK : MANY));
      const front = new Bed(IN_FRONT);
      const scattered = new Bed(SCATTERED);
      const walks = WALKS.includes(call);
      const got = await interleave(Math.min(rounds, 5), {
        few: () => cost(call, few),
        many: () => cost(call, many),
        front: () => (walks ? cost(call, front) : 0),
        scattered: () => (walks ? cost(call, scattered) : 0),
      });
      const yardstick = { name: FEW_NAME, samples: got.few };
      sampled.push({ name: manyName(call), samples: got.many, yardstick, small: quick });
      if (!walks) continue;
      sampled.push({ name: frontName(call), samples: got.front, yardstick });
      sampled.push({ name: scatteredName(call), samples: got.scattered, yardstick });
    }
    return sampled;
  },
};
