/** Mixes of dense linear algebra. */
import { partOf, Stage } from './stage.ts';
import type { MixSteps } from './types.ts';

/** C = A * B in tiles of a page; each device computes its rows of C. */
export const GEMM: MixSteps = {
  name: 'gemm',
  about: 'matrices in tiles of a page: each device computes its rows of C from A and all of B',
  *steps(options, sink) {
    const stage = new Stage(options, sink);
    const side = Math.max(2, Math.floor(Math.sqrt(options.pages / 3)));
    const tiles = side * side;
    const a = stage.map(tiles);
    const b = stage.map(tiles);
    // What does not make a square goes to C, which is touched as a whole.
    const c = stage.map(options.pages - 2 * tiles);
    while (!stage.isOver) {
      for (let device = 0; device < stage.devices && !stage.isOver; device++) {
        const own = partOf(c, device, stage.devices);
        for (let i = 0; i < own.pages && !stage.isOver; i++) {
          const tile = (own.first - c.first + i) % tiles;
          const row = Math.floor(tile / side);
          const column = tile % side;
          for (let k = 0; k < side && !stage.isOver; k++) {
            stage.access(a.first + row * side + k, device + 1, false);
            stage.access(b.first + k * side + column, device + 1, false);
          }
          stage.access(own.first + i, device + 1, true);
        }
      }
      yield;
    }
    stage.end();
  },
};

const LAYERS = 24;

/** Weights layer by layer, split among the devices; what each adds up goes to all for the next layer. */
export const LLM: MixSteps = {
  name: 'llm',
  about:
    'token after token sweeps the weights of 24 layers, split among devices that swap activations',
  *steps(options, sink) {
    const stage = new Stage(options, sink);
    const layers = Math.min(LAYERS, Math.floor(options.pages / 4));
    const activationPages = Math.max(1, Math.floor(options.pages / 64));
    const cachePages = Math.max(1, Math.floor(options.pages / 16));
    const weights = stage.map(options.pages - activationPages - cachePages);
    const activations = stage.map(activationPages);
    const cache = stage.map(cachePages);
    for (let token = 0; !stage.isOver; token++) {
      for (let layer = 0; layer < layers && !stage.isOver; layer++) {
        const own = partOf(weights, layer, layers);
        for (let device = 0; device < stage.devices && !stage.isOver; device++) {
          for (let i = 0; i < activations.pages; i++) {
            stage.access(activations.first + i, device + 1, false);
          }
          const share = partOf(own, device, stage.devices);
          for (let i = 0; i < share.pages; i++) stage.access(share.first + i, device + 1, false);
          const kept = cache.first + ((token * layers + layer) % cache.pages);
          stage.access(kept, device + 1, true);
          const answer = partOf(activations, device, stage.devices);
          for (let i = 0; i < Math.max(1, answer.pages); i++) {
            stage.access(
              Math.min(answer.first + i, activations.first + activations.pages - 1),
              device + 1,
              true,
            );
          }
        }
      }
      yield;
    }
    stage.end();
  },
};
