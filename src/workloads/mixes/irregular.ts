/** Mixes whose next page depends on data. */
import { type Area, partOf, Stage } from './stage.ts';
import type { MixSteps } from './types.ts';

/** A ring through all pages in random order, followed by each device in its turn. */
export const POINTER_CHASE: MixSteps = {
  name: 'pointer-chase',
  about: 'devices take turns following one ring that visits every page in random order',
  *steps(options, sink) {
    const stage = new Stage(options, sink);
    const buffer = stage.map(options.pages);
    const next = ring(stage, buffer.pages);
    // The CPU lays it out.
    for (let i = 0; i < buffer.pages; i++) stage.access(buffer.first + i, 0, true);
    const hops = Math.max(1, Math.floor(buffer.pages / 4));
    let at = 0;
    for (let turn = 0; !stage.isOver; turn++) {
      const device = 1 + (turn % stage.devices);
      for (let hop = 0; hop < hops && !stage.isOver; hop++) {
        stage.access(buffer.first + at, device, false);
        at = next[at]!;
      }
      yield;
    }
    stage.end();
  },
};

/** One cycle through all of [0, length): Sattolo's shuffle. */
function ring(stage: Stage, length: number): Uint32Array<ArrayBuffer> {
  const next = new Uint32Array(length);
  for (let i = 0; i < length; i++) next[i] = i;
  for (let i = length - 1; i > 0; i--) {
    const other = stage.below(i);
    const value = next[i]!;
    next[i] = next[other]!;
    next[other] = value;
  }
  return next;
}

const NODES_A_PAGE = 64;
const EDGES_A_NODE = 4;

/** Breadth-first search of a random graph, level by level; each device has its share of the frontier. */
export const BFS: MixSteps = {
  name: 'bfs',
  about: 'breadth-first search of a random graph; each level is split among the devices',
  *steps(options, sink) {
    const stage = new Stage(options, sink);
    // Edges lie in most of the pages, and what is known of the nodes in the others.
    const statePages = Math.max(1, Math.floor(options.pages / 5));
    const edges = stage.map(options.pages - statePages);
    const state = stage.map(statePages);
    const nodes = edges.pages * NODES_A_PAGE;
    const targets = new Uint32Array(nodes * EDGES_A_NODE);
    for (let i = 0; i < targets.length; i++) targets[i] = stage.below(nodes);
    while (!stage.isOver) {
      search(stage, edges, state, targets, nodes);
      yield;
    }
    stage.end();
  },
};

function search(stage: Stage, edges: Area, state: Area, targets: Uint32Array, nodes: number): void {
  const seen = new Uint8Array(nodes);
  const statePage = (node: number): number =>
    state.first + Math.floor((node * state.pages) / nodes);
  let frontier = [stage.below(nodes)];
  seen[frontier[0]!] = 1;
  // Forgets what an earlier search knew.
  for (let i = 0; i < state.pages; i++) stage.access(state.first + i, 0, true);
  while (frontier.length > 0 && !stage.isOver) {
    const following: number[] = [];
    for (const [i, node] of frontier.entries()) {
      const device = 1 + Math.floor((i * stage.devices) / frontier.length);
      stage.access(edges.first + Math.floor(node / NODES_A_PAGE), device, false);
      for (let edge = 0; edge < EDGES_A_NODE && !stage.isOver; edge++) {
        const target = targets[node * EDGES_A_NODE + edge]!;
        stage.access(statePage(target), device, false);
        if (seen[target] !== 0) continue;
        seen[target] = 1;
        stage.access(statePage(target), device, true);
        following.push(target);
      }
    }
    frontier = following;
  }
}

/** Rows of a table, looked up by a power law: few are wanted all the time, most hardly ever. */
export const EMBEDDING: MixSteps = {
  name: 'embedding',
  about: 'devices look up rows of a table, the k-th most wanted in proportion to 1/k',
  *steps(options, sink) {
    const stage = new Stage(options, sink);
    const outputPages = Math.max(1, Math.floor(options.pages / 16));
    const table = stage.map(options.pages - outputPages);
    const output = stage.map(outputPages);
    const ranks = zipf(table.pages);
    // Which rows are wanted has nothing to do with where they lie.
    const placeOf = shuffled(stage, table.pages);
    const lookups = 32;
    for (let query = 0; !stage.isOver; query++) {
      const device = query % stage.devices;
      for (let i = 0; i < lookups && !stage.isOver; i++) {
        stage.access(table.first + placeOf[rankAt(ranks, stage)]!, device + 1, false);
      }
      const own = partOf(output, device, stage.devices);
      const page = own.first + (Math.floor(query / stage.devices) % Math.max(1, own.pages));
      stage.access(page, device + 1, true);
      yield;
    }
    stage.end();
  },
};

/** Sums of 1, 1/2, 1/3, …, each divided by the last. */
function zipf(length: number): Float64Array<ArrayBuffer> {
  const sums = new Float64Array(length);
  let sum = 0;
  for (let i = 0; i < length; i++) {
    sum += 1 / (i + 1);
    sums[i] = sum;
  }
  for (let i = 0; i < length; i++) sums[i] = sums[i]! / sum;
  return sums;
}

const DRAWS = 2 ** 30;

/** A rank by chance: the first whose sum is beyond a number drawn. */
function rankAt(sums: Float64Array, stage: Stage): number {
  const drawn = stage.below(DRAWS) / DRAWS;
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sums[middle]! > drawn) high = middle;
    else low = middle + 1;
  }
  return low;
}

function shuffled(stage: Stage, length: number): Uint32Array<ArrayBuffer> {
  const order = new Uint32Array(length);
  for (let i = 0; i < length; i++) {
    const at = stage.below(i + 1);
    order[i] = order[at]!;
    order[at] = i;
  }
  return order;
}
