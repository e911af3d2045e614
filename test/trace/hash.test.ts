import { expect, it } from 'vitest';
import { hash64 } from '../../src/trace/hash.ts';

// The vectors of those who published FNV.
it.each([
  ['', 'cbf29ce484222325'],
  ['a', 'af63dc4c8601ec8c'],
  ['foobar', '85944171f73967e8'],
])('hash64(%j) is FNV-1a', (text, hash) => {
  expect(hash64(text)).toBe(hash);
});
