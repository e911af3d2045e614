/** What the mixes have in common: where their memory lies, and when they have made enough accesses. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { SimError } from '../../core/errors.ts';
import { AccessWriter } from '../access-writer.ts';
import type { WorkloadSink } from '../types.ts';
import type { MixOptions } from './types.ts';

/** Page of the first mapping: a round address. */
const FIRST_PAGE = 0x1000_0000;
const PAGES_MIN = 16;
const PAGES_MAX: number = 2 ** 28;
const DEVICES_MAX = 64;

/** Pages of a mapping: a part of the working set. */
export interface Area {
  readonly first: number;
  readonly pages: number;
}

export class Stage {
  readonly devices: number;
  readonly #writer: AccessWriter;
  readonly #accesses: number;
  readonly #random: ReturnType<typeof xoroshiro128plus>;
  #nextPage = FIRST_PAGE;
  #done = 0;

  /** @throws SimError `bad-argument` */
  constructor(options: MixOptions, sink: WorkloadSink) {
    const { pages, devices, accesses, seed } = options;
    mustBe('pages', pages, PAGES_MIN, PAGES_MAX);
    mustBe('devices', devices, 1, DEVICES_MAX);
    mustBe('accesses', accesses, 1, Number.MAX_SAFE_INTEGER);
    mustBe('seed', seed, 0, 2 ** 32 - 1);
    this.devices = devices;
    this.#accesses = accesses;
    this.#writer = new AccessWriter(sink);
    this.#random = xoroshiro128plus(seed | 0);
  }

  /** True once all accesses are made. */
  get isOver(): boolean {
    return this.#done >= this.#accesses;
  }

  /** A mapping of its own. */
  map(pages: number): Area {
    const area = { first: this.#nextPage, pages };
    this.#writer.mapping({ kind: 'map', start: area.first, pages });
    // A gap, so that running over the end shows.
    this.#nextPage += Math.ceil((pages + 1) / 512) * 512;
    return area;
  }

  /** One access, unless there were enough. */
  access(page: number, thread: number, write: boolean): void {
    if (this.#done >= this.#accesses) return;
    this.#done++;
    this.#writer.access(page, thread, write);
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return uniformInt(this.#random, 0, limit - 1);
  }

  end(): void {
    this.#writer.flush();
  }
}

/** The part of an area that falls to one of so many: neighbours get neighbouring parts. */
export function partOf({ first, pages }: Area, i: number, parts: number): Area {
  const from = Math.floor((pages * i) / parts);
  return { first: first + from, pages: Math.floor((pages * (i + 1)) / parts) - from };
}

function mustBe(what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new SimError(
    'bad-argument',
    `${what}: expected a whole number from ${min} on; found ${value}`,
  );
}
