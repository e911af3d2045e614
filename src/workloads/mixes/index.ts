/** Every mix, by its name. */
import { GEMM, LLM } from './dense.ts';
import { BFS, EMBEDDING, POINTER_CHASE } from './irregular.ts';
import { BROADCAST, HOT_COLD, PING_PONG, STENCIL, STREAMING } from './sharing.ts';
import type { Mix, MixSteps } from './types.ts';

export type { Mix, MixOptions, MixSteps } from './types.ts';

export const MIXES: ReadonlyMap<string, Mix> = new Map(
  [
    STREAMING,
    PING_PONG,
    BROADCAST,
    HOT_COLD,
    POINTER_CHASE,
    STENCIL,
    BFS,
    EMBEDDING,
    GEMM,
    LLM,
  ].map((mix) => [mix.name, withGenerate(mix)]),
);

function withGenerate(mix: MixSteps): Mix {
  return {
    ...mix,
    generate: (options, sink) => {
      const steps = mix.steps(options, sink);
      while (steps.next().done !== true);
    },
  };
}
