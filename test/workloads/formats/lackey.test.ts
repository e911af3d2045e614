// What valgrind's lackey prints, against a reader that is slow and obvious.

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decoderFor, detectFormat } from '../../../src/workloads/formats/index.ts';
import { Collector, pieces, type Row } from '../collect.ts';

const FIXTURE = gunzipSync(readFileSync(new URL('../fixtures/threads.lackey.gz', import.meta.url)));

function read(text: string | Uint8Array, cuts: readonly number[] = [], options = {}): Collector {
  const decoder = decoderFor('lackey', options);
  const sink = new Collector();
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  for (const piece of pieces(bytes, cuts)) decoder.push(piece, sink);
  decoder.end(sink);
  return sink;
}

/** Line by line with regular expressions; accesses only. */
function slowly(text: string): Row[] {
  const rows: Row[] = [];
  const threads: number[] = [];
  let thread = 0;
  for (const line of text.split('\n')) {
    const scheduled = /SCHED\[(\d+)\]:\s+acquired lock/.exec(line);
    if (scheduled !== null) {
      const tid = Number(scheduled[1]);
      if (!threads.includes(tid)) threads.push(tid);
      thread = threads.indexOf(tid);
    }
    const access = /^ ([LSM]) ([0-9a-f]+),(\d+)$/.exec(line);
    if (access === null) continue;
    const first = Number.parseInt(access[2]!, 16);
    const last = first + Number(access[3]) - 1;
    for (let vpn = Math.floor(first / 4096); vpn <= Math.floor(last / 4096); vpn++) {
      if (access[1] !== 'S') rows.push({ vpn, thread, write: false, weight: 1 });
      if (access[1] !== 'L') rows.push({ vpn, thread, write: true, weight: 1 });
    }
  }
  return rows;
}

describe('lackey', () => {
  it('reads a real run with threads as the slow reader does', () => {
    const withoutCalls = FIXTURE.toString('latin1').replaceAll(
      /^SYSCALL.*\) sys_(read|pread64|getrandom).*$/gm,
      '',
    );
    expect(read(withoutCalls).rows).toEqual(slowly(withoutCalls));
    expect(new Set(read(withoutCalls).rows.map(({ thread }) => thread))).toEqual(
      new Set([0, 1, 2]),
    );
  });

  it('does not care how the bytes are cut', () => {
    const whole = read(FIXTURE).told;
    fc.assert(
      fc.property(fc.array(fc.nat(FIXTURE.length), { maxLength: 30 }), (cuts) => {
        expect(read(FIXTURE, cuts).told).toEqual(whole);
      }),
      { numRuns: 25 },
    );
  });

  it('learns of mappings', () => {
    const { mappings } = read(FIXTURE);
    // The buffer of the program: 64 pages that come and go.
    expect(mappings).toContainEqual({ kind: 'map', start: 0x4a2b, pages: 64 });
    expect(mappings).toContainEqual({ kind: 'unmap', start: 0x4a2b, pages: 64 });
    // A heap that grew by brk.
    expect(mappings).toContainEqual({ kind: 'map', start: 0x4035, pages: 0x21 });
  });

  it('takes what the kernel read into a buffer for stores, when the call is done', () => {
    const text = [
      ' L 00001000,8',
      'SYSCALL[7,1](0) sys_read ( 3, 0x4a2bff0, 5000 ) --> [async] ... ',
      '--7--   SCHED[1]: releasing lock (VG_(client_syscall)[async]) -> VgTs_WaitSys',
      '--7--   SCHED[1]:  acquired lock (VG_(client_syscall)[async])',
      'SYSCALL[7,1](0) ... [async] --> Success(0x20) ',
      ' S 00001000,8',
    ];
    expect(read(`${text.join('\n')}\n`).rows.map(({ vpn, write }) => [vpn, write])).toEqual([
      [1, false],
      [0x4a2b, true],
      [0x4a2c, true],
      [1, true],
    ]);
  });

  it('splits an access at the end of a page, and makes two of a modify', () => {
    expect(read(' S 200005ffc,8\n M 00002000,4\n').rows).toEqual([
      { vpn: 0x200005, thread: 0, write: true, weight: 1 },
      { vpn: 0x200006, thread: 0, write: true, weight: 1 },
      { vpn: 2, thread: 0, write: false, weight: 1 },
      { vpn: 2, thread: 0, write: true, weight: 1 },
    ]);
  });

  it('counts instruction fetches where it is asked to', () => {
    const text = 'I  00001000,3\n L 00002000,8\nI  00003000,3\n';
    expect(read(text).rows.map(({ vpn }) => vpn)).toEqual([2]);
    expect(read(text, [], { instructions: true }).rows.map(({ vpn }) => vpn)).toEqual([1, 2, 3]);
  });

  it('takes pages of another size', () => {
    expect(read(' L 00012345,1\n', [], { pageSize: 65_536 }).rows[0]!.vpn).toBe(1);
  });

  it.each([
    [' L 00001000,\n', 'line 1 (byte 0): expected an access such as " L 04834b28,8"'],
    [' L 00001000,8\n L 0000zzzz,8\n', 'line 2 (byte 14)'],
    [' L 00001000,8\n S 00001000,99999999\n', 'line 2 (byte 14)'],
    [' L 00001000,8\n S 11112222333344445,8\n', 'line 2 (byte 14)'],
    [' L 00001000,8\n L 00001', 'expected the end of the line'],
    ['hello\nworld\n', "expected lines of valgrind's lackey; found none"],
    ['', "expected lines of valgrind's lackey; found none"],
  ])('refuses %j', (text, message) => {
    expect(() => read(text)).toThrow(message);
  });

  it('is recognised', () => {
    expect(detectFormat(FIXTURE)).toBe('lackey');
    expect(detectFormat(Buffer.from('I  04001090,3\n'))).toBe('lackey');
    expect(detectFormat(Buffer.from('something else\n'))).toBeNull();
  });
});
