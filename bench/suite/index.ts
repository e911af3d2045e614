/** All that is measured, in the order of the targets. */
import type { Measurement } from '../harness/types.ts';
import { ACCESS } from './access.ts';
import { BULK } from './bulk.ts';
import { CONFORMANCE } from './conformance.ts';
import { DEVICE_COUNT } from './devices.ts';
import { ENGINES } from './engine.ts';
import { EVENTS } from './events.ts';
import { FAULTS } from './faults.ts';
import { FLAT } from './flat.ts';
import { LINEAR } from './linear.ts';
import { MEMORIES } from './memory.ts';
import { GENERATORS } from './mixes.ts';
import { REPLAYS } from './replays.ts';
import { SILENCE } from './silence.ts';
import { START } from './start.ts';
import { TRACES } from './traces.ts';

export const SUITE: readonly Measurement[] = [
  ...FAULTS,
  ...BULK,
  ACCESS,
  ...MEMORIES,
  FLAT,
  DEVICE_COUNT,
  LINEAR,
  SILENCE,
  ...EVENTS,
  CONFORMANCE,
  START,
  TRACES,
  ...REPLAYS,
  GENERATORS,
  ...ENGINES,
];
