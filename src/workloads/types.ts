/**
 * What a workload is made of: accesses to pages by threads, in order, and the mappings they happen
 * in. Readers of traces and generators of access patterns produce it, a player consumes it.
 */
import type { Vpn } from '../core/units.ts';

/**
 * Accesses in columns. The producer reuses its batch: a sink that keeps something copies it. Only
 * the first `count` rows mean something.
 */
export interface AccessBatch {
  count: number;
  /** Virtual page number: address / page size. */
  readonly vpn: Float64Array<ArrayBuffer>;
  /** Which thread, numbered from 0 in the order of first appearance. */
  readonly thread: Uint16Array<ArrayBuffer>;
  /** 1 for a store, 0 for a load. */
  readonly write: Uint8Array<ArrayBuffer>;
  /** Accesses of the program that the row stands for, itself included: what a filter left out. */
  readonly weight: Uint32Array<ArrayBuffer>;
}

/** A range of pages comes or goes. Half-open: [start, start + pages). */
export interface MappingChange {
  readonly kind: 'map' | 'unmap';
  readonly start: Vpn;
  readonly pages: number;
}

/** Told in the order of the workload. */
export interface WorkloadSink {
  accesses(batch: AccessBatch): void;
  mapping(change: MappingChange): void;
}

/** An empty batch with room for `capacity` accesses. */
export function newBatch(capacity: number): AccessBatch {
  return {
    count: 0,
    vpn: new Float64Array(capacity),
    thread: new Uint16Array(capacity),
    write: new Uint8Array(capacity),
    weight: new Uint32Array(capacity),
  };
}
