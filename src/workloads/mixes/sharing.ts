/** Mixes about who shares what with whom. */
import { type Area, partOf, Stage } from './stage.ts';
import type { MixSteps } from './types.ts';

/** Each device goes through its part again and again, reading one half of it and writing the other. */
export const STREAMING: MixSteps = {
  name: 'streaming',
  about: 'each device reads one half of its part in order, and writes the other',
  *steps(options, sink) {
    const stage = new Stage(options, sink);
    const half = Math.floor(options.pages / 2);
    const input = stage.map(half);
    const output = stage.map(options.pages - half);
    while (!stage.isOver) {
      for (let device = 0; device < stage.devices && !stage.isOver; device++) {
        const from = partOf(input, device, stage.devices);
        const to = partOf(output, device, stage.devices);
        for (let i = 0; i < Math.max(from.pages, to.pages) && !stage.isOver; i++) {
          if (i < from.pages) stage.access(from.first + i, device + 1, false);
          if (i < to.pages) stage.access(to.first + i, device + 1, true);
        }
      }
      yield;
    }
    stage.end();
  },
};

/** The CPU fills a buffer, a device uses it up and answers in place, the CPU looks: then the next device. */
export const PING_PONG: MixSteps = {
  name: 'ping-pong',
  about: 'the CPU writes all pages, a device reads and writes them, the CPU reads them, in turns',
  *steps(options, sink) {
    const stage = new Stage(options, sink);
    const buffer = stage.map(options.pages);
    for (let turn = 0; !stage.isOver; turn++) {
      const device = 1 + (turn % stage.devices);
      sweep(stage, buffer, 0, true);
      for (let i = 0; i < buffer.pages && !stage.isOver; i++) {
        stage.access(buffer.first + i, device, false);
        stage.access(buffer.first + i, device, true);
      }
      sweep(stage, buffer, 0, false);
      yield;
    }
    stage.end();
  },
};

/** What one writes all read: a candidate for copies everywhere. */
export const BROADCAST: MixSteps = {
  name: 'broadcast',
  about: 'the CPU writes all pages once in a while, every device reads all of them',
  *steps(options, sink) {
    const stage = new Stage(options, sink);
    const buffer = stage.map(options.pages);
    const rounds = 4;
    while (!stage.isOver) {
      sweep(stage, buffer, 0, true);
      for (let round = 0; round < rounds && !stage.isOver; round++) {
        for (let device = 1; device <= stage.devices; device++) sweep(stage, buffer, device, false);
      }
      yield;
    }
    stage.end();
  },
};

/** Accesses between pauses. */
const HOT_COLD_STEP = 4096;

/** A tenth of the pages gets nine tenths of the accesses, from all sides. */
export const HOT_COLD: MixSteps = {
  name: 'hot-cold',
  about: 'nine of ten accesses go to a tenth of the pages; a quarter of all are stores',
  *steps(options, sink) {
    const stage = new Stage(options, sink);
    const buffer = stage.map(options.pages);
    const hot = Math.max(1, Math.floor(buffer.pages / 10));
    for (let i = 1; !stage.isOver; i++) {
      const isHot = stage.below(10) < 9;
      const page = isHot ? stage.below(hot) : hot + stage.below(buffer.pages - hot);
      stage.access(buffer.first + page, stage.below(stage.devices + 1), stage.below(4) === 0);
      if (i % HOT_COLD_STEP === 0) yield;
    }
    stage.end();
  },
};

/** A grid in bands, one a device; each sweep reads the edge of the neighbours' bands. */
export const STENCIL: MixSteps = {
  name: 'stencil',
  about: 'each device updates its band of a grid and reads the edge pages of its neighbours',
  *steps(options, sink) {
    const stage = new Stage(options, sink);
    const half = Math.floor(options.pages / 2);
    const grids = [stage.map(half), stage.map(options.pages - half)] as const;
    for (let step = 0; !stage.isOver; step++) {
      const from = grids[step % 2]!;
      const to = grids[(step + 1) % 2]!;
      for (let device = 0; device < stage.devices && !stage.isOver; device++) {
        stencilBand(stage, from, to, device);
      }
      yield;
    }
    stage.end();
  },
};

function stencilBand(stage: Stage, from: Area, to: Area, device: number): void {
  const own = partOf(from, device, stage.devices);
  const target = partOf(to, device, stage.devices);
  const last = from.first + from.pages - 1;
  for (let i = 0; i < own.pages && !stage.isOver; i++) {
    const page = own.first + i;
    if (page > from.first) stage.access(page - 1, device + 1, false);
    stage.access(page, device + 1, false);
    if (page < last) stage.access(page + 1, device + 1, false);
    if (i < target.pages) stage.access(target.first + i, device + 1, true);
  }
  // Grids of unequal size: the rest of the larger one.
  for (let i = own.pages; i < target.pages; i++) stage.access(target.first + i, device + 1, true);
}

function sweep(stage: Stage, { first, pages }: Area, thread: number, write: boolean): void {
  for (let i = 0; i < pages && !stage.isOver; i++) stage.access(first + i, thread, write);
}
