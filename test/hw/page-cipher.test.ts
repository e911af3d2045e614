// How pages are sealed, and the names of calls and codes.
import { describe, expect, it } from 'vitest';
import { PageCipher } from '../../src/hw/page-cipher.ts';
import {
  H_SVM_PAGE_IN,
  hcallResultName,
  svmCallName,
  UV_PAGE_IN,
  ucallResultName,
} from '../../src/hw/svm-codes.ts';

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

  it('is the same in every run', () => {
    const [one, two] = [new PageCipher(3, 4), new PageCipher(3, 4)];
    expect(one.seal(words, 1024, place)).toEqual(two.seal(words, 1024, place));
  });

  it('tells addresses beyond 4 GiB apart', () => {
    const cipher = new PageCipher(1, 0);
    const sealed = cipher.seal(words, 1024, { gpa: 2 ** 32, version: 1 });
    expect(cipher.open(sealed, { gpa: 0, version: 1 })).toBeNull();
    expect(cipher.open(sealed, { gpa: 2 ** 32, version: 1 })).toEqual(words);
  });
});

describe('names and numbers', () => {
  it('are those of the kernel', () => {
    expect(svmCallName(H_SVM_PAGE_IN)).toBe('H_SVM_PAGE_IN');
    expect(svmCallName(UV_PAGE_IN)).toBe('UV_PAGE_IN');
    expect(svmCallName(1)).toBe('call 0x1');
    expect([H_SVM_PAGE_IN, UV_PAGE_IN]).toEqual([0xef00, 0xf128]);
    expect(hcallResultName(-75)).toBe('H_STATE');
    expect(hcallResultName(-67)).toBe('H_UNSUPPORTED');
    expect(ucallResultName(-4)).toBe('U_PARAMETER');
    expect(ucallResultName(-58)).toBe('U_P5');
    expect(hcallResultName(-1234)).toBe('H_-1234');
  });
});
