/** Digests of a migration's words, for whoever compares the states of two schedules. */

/** A hash of the first `count` words of `src` and `dst`, and of where the range starts. */
export function digestWords(
  src: Uint32Array,
  dst: Uint32Array | null,
  count: number,
  start: number,
): number {
  let hash = Math.imul((start / 4096) | 0, 0x9e3779b1);
  for (let i = 0; i < count; i++) {
    hash = Math.imul(hash ^ src[i]!, 0x85ebca6b) ^ (hash >>> 15);
    if (dst !== null) hash = Math.imul(hash ^ dst[i]!, 0xc2b2ae35) ^ (hash >>> 13);
  }
  return hash | 0;
}
