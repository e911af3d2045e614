// How pages are sealed, and the names of calls and codes.
import { describe, expect, it } from 'vitest';
import { PageCipher } from '../../src/hw/page-cipher.ts';
import * as codes from '../../src/hw/svm-codes.ts';

const { hcallResultName, svmCallName, ucallResultName } = codes;
const numbers: ReadonlyMap<string, unknown> = new Map(Object.entries(codes));

describe('the cipher', () => {
  const words = Uint32Array.from({ length: 1024 }, (_, i) => i * 3);
  const place = { gpa: 0x8_0000, version: 5 };

  it('gives back what it sealed, in its place only', () => {
    const cipher = new PageCipher(1, 0);
    const sealed = cipher.seal(words, 1024, place);
    expect([...sealed.words]).not.toEqual([...words]);
    expect(cipher.open(sealed, place)).toEqual(words);
    expect(cipher.open(sealed, { ...place, gpa: 0x9_0000 })).toBeNull();
    expect(cipher.open(sealed, { ...place, version: 6 })).toBeNull();
    expect(new PageCipher(2, 0).open(sealed, place)).toBeNull();
    expect(new PageCipher(1, 1).open(sealed, place)).toBeNull();
  });

  it.each([0, 1, 511, 1023])('refuses one changed bit in word %i', (at) => {
    const cipher = new PageCipher(1, 0);
    for (const bit of [0, 13, 31]) {
      const sealed = cipher.seal(words, 1024, place);
      sealed.words[at] = (sealed.words[at]! ^ (1 << bit)) >>> 0;
      expect(cipher.open(sealed, place)).toBeNull();
    }
  });

  it('refuses a changed tag', () => {
    const cipher = new PageCipher(1, 0);
    const sealed = cipher.seal(words, 1024, place);
    sealed.tag[0] = sealed.tag[0]! ^ 1;
    expect(cipher.open(sealed, place)).toBeNull();
  });

  it('seals zeros like anything else, and never twice alike', () => {
    const cipher = new PageCipher(1, 0);
    const first = cipher.seal(null, 1024, place);
    const second = cipher.seal(null, 1024, { ...place, version: 6 });
    expect(first.words.some((word) => word !== 0)).toBe(true);
    expect([...first.words]).not.toEqual([...second.words]);
    expect(cipher.open(first, place)).toEqual(new Uint32Array(1024));
  });

  it('is the same in every run, here and elsewhere', () => {
    const [one, two] = [new PageCipher(3, 4), new PageCipher(3, 4)];
    const sealed = one.seal(words, 1024, place);
    expect(sealed).toEqual(two.seal(words, 1024, place));
    expect([...sealed.words.subarray(0, 2), sealed.tag.length]).toEqual([
      470_304_241, 2_708_142_036, 16,
    ]);
  });

  it('never uses a nonce twice under one key: guests differ in their keys', () => {
    const sealed = (lpid: number, generation: number): string =>
      new PageCipher(lpid, generation).seal(words, 1024, place).words.subarray(0, 4).join();
    const lives = [1, 2, 3].flatMap((lpid) => [0, 1, 2, 2 ** 32].map((life) => sealed(lpid, life)));
    expect(new Set(lives).size).toBe(lives.length);
  });

  it('tells addresses beyond 4 GiB apart', () => {
    const cipher = new PageCipher(1, 0);
    const sealed = cipher.seal(words, 1024, { gpa: 2 ** 32, version: 1 });
    expect(cipher.open(sealed, { gpa: 0, version: 1 })).toBeNull();
    expect(cipher.open(sealed, { gpa: 2 ** 32, version: 1 })).toEqual(words);
  });
});

describe('names and numbers', () => {
  it.each([
    ['H_SVM_PAGE_IN', 0xef00],
    ['H_SVM_PAGE_OUT', 0xef04],
    ['H_SVM_INIT_START', 0xef08],
    ['H_SVM_INIT_DONE', 0xef0c],
    ['H_SVM_INIT_ABORT', 0xef14],
    ['UV_WRITE_PATE', 0xf104],
    ['UV_ESM', 0xf110],
    ['UV_RETURN', 0xf11c],
    ['UV_REGISTER_MEM_SLOT', 0xf120],
    ['UV_UNREGISTER_MEM_SLOT', 0xf124],
    ['UV_PAGE_IN', 0xf128],
    ['UV_PAGE_OUT', 0xf12c],
    ['UV_SHARE_PAGE', 0xf130],
    ['UV_UNSHARE_PAGE', 0xf134],
    ['UV_UNSHARE_ALL_PAGES', 0xf140],
    ['UV_PAGE_INVAL', 0xf138],
    ['UV_SVM_TERMINATE', 0xf13c],
  ])('of %s are those of the kernel', (name, number) => {
    expect(numbers.get(name)).toBe(number);
    expect(svmCallName(number)).toBe(name);
  });

  it.each([
    ['SUCCESS', 0],
    ['BUSY', 1],
    ['FUNCTION', -2],
    ['PARAMETER', -4],
    ['AUTHORITY', -10],
    ['PERMISSION', -11],
    ['P2', -55],
    ['P3', -56],
    ['P4', -57],
    ['P5', -58],
    ['UNSUPPORTED', -67],
    ['STATE', -75],
  ])('of what returns %s are those of the kernel', (name, number) => {
    expect(numbers.get(`H_${name}`)).toBe(number);
    expect(hcallResultName(number)).toBe(`H_${name}`);
    expect(ucallResultName(number)).toBe(`U_${name}`);
  });

  it('are told of what has none, too', () => {
    expect(numbers.get('H_PAGE_IN_SHARED')).toBe(1);
    expect(svmCallName(1)).toBe('call 0x1');
    expect(hcallResultName(-1234)).toBe('H_-1234');
  });
});
