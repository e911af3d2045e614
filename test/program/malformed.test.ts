// Programs, headers and recordings that are refused: each with the line and what was expected.

import { describe, expect, it } from 'vitest';
import { type Case, refusedRecording, refusedText } from './refused.ts';

/** A program whose first operations map buffers 0 and 1; `operation` stands in line 4. */
function after(...operations: readonly string[]): string {
  return ['program a', 'mmap 0 4 anon rw', 'mmap 1 4 file r', ...operations, 'end', ''].join('\n');
}

const OPERATIONS =
  'mmap, munmap, dontneed, mprotect, mremap, cpu_read, cpu_write, fork, exit, pagemap, ' +
  'fail, page_lock, page_unlock, page_pin, page_unpin, ' +
  'dev_read, dev_write, migrate_to_dev, migrate_to_sys, snapshot, exclusive, check_exclusive, ' +
  'release, lab_migrate, lab_where, lab_pin, lab_unpin, lab_evict, lab_mode';
const BUFFER = 'buffer: the number of a buffer that an mmap or mremap of this process named';
const OFFSET = 'offset: a number from 0 to 65535';
const PAGES = 'pages: a number from 0 to 65536';
const DEVICE = 'device: a dmirror of the machine, 0 to 3';
const ALIVE = 'a process that was forked and has not exited';
const NAME = 'a name of 1 to 100 letters without spaces';
const CHUNK = 'a size from 64KiB to 1GiB, a multiple of 4KiB, such as 1GiB';
const RAM = 'ram: a size from 1MiB to 64GiB, a multiple of 4KiB, such as 64GiB';
const ERAS = 'era: v5.6, v5.7, v5.10, v6.1 or v6.12';
const END = 'the end of the line';

const STRUCTURE: readonly Case[] = [
  ['nothing', '', '1: expected program NAME; found the end of the file'],
  ['only comments', '# a\n\n# b\n', '3: expected program NAME; found the end of the file'],
  [
    'no program',
    'mmap 0 1 anon rw\n',
    '1: expected machine, device or program NAME; found "mmap 0 1 anon rw"',
  ],
  ['an end alone', 'end\n', '1: expected machine, device or program NAME; found "end"'],
  [
    'no end',
    'program a\nmmap 0 1 anon rw\n',
    '2: expected end, for program "a" of line 1; found the end of the file',
  ],
  [
    'no end before the next',
    'program a\nprogram b\nend\n',
    '2: expected end, for program "a" of line 1; found "program b"',
  ],
  [
    'an operation between programs',
    'program a\nend\nmmap 0 1 anon rw\n',
    '3: expected program NAME or the end of the file; found "mmap 0 1 anon rw"',
  ],
  [
    'a second end',
    'program a\nend\nend\n',
    '3: expected program NAME or the end of the file; found "end"',
  ],
  ['no name', 'program\nend\n', '1: expected program and a name of one word; found "program"'],
  [
    'a name of two words',
    'program a b\nend\n',
    '1: expected program and a name of one word; found "program a b"',
  ],
  ['a name beyond ASCII', 'program é\nend\n', `1: expected ${NAME}; found "\\u{e9}"`],
  [
    'a long name',
    `program ${'n'.repeat(101)}\nend\n`,
    `1: expected ${NAME}; found "${'n'.repeat(60)}…"`,
  ],
  [
    'a name twice',
    'program a\nend\nprogram a\nend\n',
    '3: expected another name for each program; found "a", as in line 1',
  ],
  ['words after end', 'program a\nend a\n', '2: expected nothing after end; found "a"'],
  [
    'a control character',
    'program a\nmm\u0007ap\nend\n',
    '2: expected text; found the character "\\u{7}" in column 3',
  ],
  [
    'an escape sequence',
    'program a\n\u001b[2J\nend\n',
    '2: expected text; found the character "\\u{1b}" in column 1',
  ],
  [
    'a carriage return inside',
    'program a\rend\n',
    '1: expected text; found the character "\\u{d}" in column 10',
  ],
  [
    'the header after a program',
    'program a\nend\nmachine era v6.1\n',
    '3: expected machine before the first program; found "machine era v6.1"',
  ],
  [
    'a device inside a program',
    'program a\ndevice dmirror\nend\n',
    '2: expected device before the first program; found "device dmirror"',
  ],
];

const OPERATION: readonly Case[] = [
  [
    'an unknown operation',
    after('mmep 0 1 anon rw'),
    `4: expected an operation: ${OPERATIONS}; found "mmep"`,
  ],
  [
    'upper case',
    after('CPU_READ 0 0 1'),
    `4: expected an operation: ${OPERATIONS}; found "CPU_READ"`,
  ],
  [
    'too few arguments',
    after('cpu_read 0 0'),
    '4: expected "cpu_read BUFFER OFFSET PAGES"; found 2 arguments',
  ],
  [
    'too many arguments',
    after('cpu_read 0 0 1 1'),
    '4: expected "cpu_read BUFFER OFFSET PAGES"; found 4 arguments',
  ],
  [
    'no arguments',
    after('mprotect'),
    '4: expected "mprotect BUFFER OFFSET PAGES PROT"; found 0 arguments',
  ],
  ['an argument for none', after('lab_unpin 0'), '4: expected "lab_unpin"; found 1 argument'],
  [
    'too many for an optional one',
    after('lab_migrate 0 S 0 0 0 1 2 3'),
    '4: expected "lab_migrate OWNER FLAGS TO BUFFER OFFSET PAGES [SKIP]"; found 8 arguments',
  ],
  ['a buffer that is not named', after('cpu_read 2 0 1'), `4: expected ${BUFFER}; found "2"`],
  ['a buffer that is no number', after('cpu_read x 0 1'), `4: expected ${BUFFER}; found "x"`],
  [
    'a buffer number out of range',
    after('mmap 256 1 anon rw'),
    '4: expected buffer: a number from 0 to 255; found "256"',
  ],
  ['a negative offset', after('cpu_read 0 -1 1'), `4: expected ${OFFSET}; found "-1"`],
  ['an offset out of range', after('cpu_read 0 65536 1'), `4: expected ${OFFSET}; found "65536"`],
  ['a fraction', after('cpu_read 0 0.5 1'), `4: expected ${OFFSET}; found "0.5"`],
  ['hexadecimal digits', after('cpu_read 0 0x1 1'), `4: expected ${OFFSET}; found "0x1"`],
  ['an exponent', after('cpu_read 0 0 1e3'), `4: expected ${PAGES}; found "1e3"`],
  [
    'no pages to pin',
    after('lab_pin 0 0 0 r get'),
    '4: expected pages: a number from 1 to 65536; found "0"',
  ],
  ['too many pages', after('mmap 2 65537 anon rw'), `4: expected ${PAGES}; found "65537"`],
  [
    'a number beyond all bounds',
    after(`dontneed 0 0 ${'9'.repeat(40)}`),
    `4: expected ${PAGES}; found "${'9'.repeat(40)}"`,
  ],
  [
    'an unknown kind',
    after('mmap 2 1 huge rw'),
    '4: expected kind: anon, shared, file or fileshared; found "huge"',
  ],
  ['unknown rights', after('mprotect 0 0 1 rwx'), '4: expected prot: rw, r or n; found "rwx"'],
  [
    'a value beyond 32 bits',
    after('cpu_write 0 0 1 4294967296'),
    '4: expected value: a number from 0 to 4294967295; found "4294967296"',
  ],
  ['a device that is not there', after('snapshot 4 0 0 1'), `4: expected ${DEVICE}; found "4"`],
  [
    'a lab that is not there',
    after('lab_evict 4'),
    '4: expected lab: a number from 0 to 3; found "4"',
  ],
  [
    'an owner that is not there',
    after('lab_migrate 4 S 0 0 0 1'),
    '4: expected owner: 0 to 3, or null; found "4"',
  ],
  [
    'an unknown flag',
    after('lab_migrate 0 SX 0 0 0 1'),
    '4: expected flags: letters of S P C, or -; found "SX"',
  ],
  [
    'a flag twice',
    after('lab_migrate 0 SS 0 0 0 1'),
    '4: expected flags: letters of S P C, or -; found "SS"',
  ],
  [
    'an unknown destination',
    after('lab_migrate 0 S disk 0 0 1'),
    '4: expected to: a lab, 0 to 3, or ram, or none; found "disk"',
  ],
  [
    'a list with a hole',
    after('lab_migrate 0 S 0 0 0 4 1,,2'),
    '4: expected skip: numbers from 0 to 63 with commas between them; found "1,,2"',
  ],
  ['an unknown access', after('lab_pin 0 0 1 x get'), '4: expected access: r or w; found "x"'],
  [
    'an unknown mode',
    after('lab_mode 0 broken'),
    '4: expected mode: refuse, forget or normal; found "broken"',
  ],
];

const PROCESSES: readonly Case[] = [
  [
    'a process that never was',
    after('@1 cpu_read 0 0 1'),
    `4: expected ${ALIVE}; found process 1, which was never forked`,
  ],
  [
    'a process that exited',
    after('fork 1', '@1 exit', '@1 cpu_read 0 0 1'),
    `6: expected ${ALIVE}; found process 1, which has exited`,
  ],
  [
    'a process twice',
    after('fork 1', 'fork 1'),
    '5: expected process: a number from 1 to 63 that no process had yet; found "1"',
  ],
  [
    'a number of one that exited',
    after('fork 1', '@1 exit', 'fork 1'),
    '6: expected process: a number from 1 to 63 that no process had yet; found "1"',
  ],
  [
    'a fork of process 0',
    after('fork 0'),
    '4: expected process: a number from 1 to 63 that no process had yet; found "0"',
  ],
  [
    'a fork by a child',
    after('fork 1', '@1 fork 2'),
    '5: expected process 0 for fork; found process 1',
  ],
  [
    'an exit of process 0',
    after('exit'),
    '4: expected a child\'s process number before exit, such as "@1 exit"; found process 0',
  ],
  [
    'no operation after a process',
    after('@0'),
    '4: expected an operation after @0; found the end of the line',
  ],
  [
    'no process number',
    after('@ cpu_read 0 0 1'),
    '4: expected a process number: @0 to @63; found "@"',
  ],
  [
    'a process number out of range',
    after('@64 cpu_read 0 0 1'),
    '4: expected a process number: @0 to @63; found "@64"',
  ],
  [
    'a buffer of the parent, mapped after the fork',
    after('fork 1', 'mmap 2 1 anon rw', '@1 cpu_read 2 0 1'),
    `6: expected ${BUFFER}; found "2"`,
  ],
  [
    "a child's buffer",
    after('fork 1', '@1 mmap 2 1 anon rw', 'cpu_read 2 0 1'),
    `6: expected ${BUFFER}; found "2"`,
  ],
];

const HEADER: readonly Case[] = [
  ['machine alone', 'machine\n', `1: expected era, rules, ram or page; found ${END}`],
  ['an unknown word', 'machine cpus 4\n', '1: expected era, rules, ram or page; found "cpus"'],
  [
    'a page of odd size',
    'machine page 6KiB\n',
    '1: expected page: 4KiB, 8KiB, 16KiB, 32KiB or 64KiB; found "6KiB"',
  ],
  [
    'a device that is no whole pages',
    'device dmirror chunk 68KiB\nmachine page 64KiB\nprogram a\nend\n',
    '1: expected chunk: whole pages of 64KiB; found "68KiB"',
  ],
  ['an unknown era', 'machine era v4.4\n', `1: expected ${ERAS}; found "v4.4"`],
  ['no era', 'machine era\n', `1: expected ${ERAS}; found ${END}`],
  ['an era twice', 'machine era v6.1 era v6.12\n', '1: expected era only once; found "era"'],
  [
    'two machine lines',
    'machine era v6.1\nmachine ram 1GiB\n',
    '2: expected one machine line, and line 1 is one; found "machine ram 1GiB"',
  ],
  ['RAM without a unit', 'machine ram 2000000\n', `1: expected ${RAM}; found "2000000"`],
  ['RAM with another unit', 'machine ram 2GB\n', `1: expected ${RAM}; found "2GB"`],
  ['too little RAM', 'machine ram 4KiB\n', `1: expected ${RAM}; found "4KiB"`],
  ['too much RAM', 'machine ram 65GiB\n', `1: expected ${RAM}; found "65GiB"`],
  [
    'RAM that is no number of pages',
    'machine ram 1025KiB\n',
    `1: expected ${RAM}; found "1025KiB"`,
  ],
  [
    'no driver',
    'device\n',
    `1: expected a driver: dmirror, pgmaplab, nouveau or kvm-uvmem; found ${END}`,
  ],
  [
    'an unknown driver',
    'device gpu\n',
    '1: expected a driver: dmirror, pgmaplab, nouveau or kvm-uvmem; found "gpu"',
  ],
  [
    'an unknown option',
    'device dmirror vram 1GiB\n',
    '1: expected an option of dmirror: private, coherent, chunk, faithful, mended or defects; found "vram"',
  ],
  [
    'an option of a driver without any',
    'device pgmaplab big\n',
    '1: expected nothing after pgmaplab; found "big"',
  ],
  [
    'both types',
    'device dmirror private coherent\n',
    '1: expected type only once; found "coherent"',
  ],
  ['no chunk size', 'device dmirror chunk\n', `1: expected chunk: ${CHUNK}; found ${END}`],
  ['a chunk too small', 'device dmirror chunk 4KiB\n', `1: expected chunk: ${CHUNK}; found "4KiB"`],
  [
    'two pgmaplabs',
    'device pgmaplab\ndevice pgmaplab\n',
    '2: expected at most 1 pgmaplab in a machine; found "pgmaplab"',
  ],
  [
    'too many devices',
    `${'device dmirror\n'.repeat(17)}`,
    '17: expected at most 16 dmirror in a machine; found "dmirror"',
  ],
  [
    'a device of a later era',
    'machine era v5.10\ndevice dmirror coherent\nprogram a\nend\n',
    '2: expected a device of era v5.10; found dmirror coherent, since v6.1',
  ],
  [
    'a device number beyond the header',
    'device dmirror\nprogram a\nmmap 0 1 anon rw\nsnapshot 1 0 0 1\nend\n',
    '4: expected device: a dmirror of the machine, 0; found "1"',
  ],
  [
    'an operation of a driver that is not there',
    'device dmirror\nprogram a\nlab_unpin\nend\n',
    '3: expected an operation of the machine, which has no pgmaplab; found "lab_unpin"',
  ],
  [
    'a header without a program',
    'machine era v6.1\n',
    '1: expected program NAME; found the end of the file',
  ],
];

const KERNEL = '{"kernel":"NAME"}, where NAME is 5.10-rule5.6, 5.10-rule5.7, 5.10, 6.1 or 6.12';

/** A recording whose first operation is in line 3. */
function recorded(...lines: readonly string[]): string {
  return ['{"kernel":"6.1"}', '{"program":"a"}', ...lines, ''].join('\n');
}

const RECORDING: readonly Case[] = [
  ['nothing', '', `1: expected ${KERNEL}; found an empty file`],
  ['no kernel', '{"program":"a"}\n', `1: expected ${KERNEL}; found "{"program":"a"}"`],
  [
    'rules of its own',
    '{"kernel":"6.1","rules":{}}\n',
    '1: expected a kernel without rules of its own; found "{"kernel":"6.1","rules":{}}"',
  ],
  ['an unknown kernel', '{"kernel":"4.4"}\n', `1: expected ${KERNEL}; found "{"kernel":"4.4"}"`],
  [
    'a kernel that is a number',
    '{"kernel":6.1}\n',
    `1: expected ${KERNEL}; found "{"kernel":6.1}"`,
  ],
  ['a program text', 'program a\nend\n', '1: expected a line of JSON; found "program a"'],
  [
    'no program',
    '{"kernel":"6.1"}\n',
    '1: expected a line {"program":"NAME"}; found the end of the file',
  ],
  [
    'bad JSON',
    recorded('{"op":"fork","args":[1]'),
    '3: expected a line of JSON; found "{"op":"fork","args":[1]"',
  ],
  ['a list', recorded('[1]'), '3: expected a JSON object; found "[1]"'],
  ['null', recorded('null'), '3: expected a JSON object; found "null"'],
  [
    'a program name that is a number',
    '{"kernel":"6.1"}\n{"program":1}\n',
    '2: expected a program name; found "1"',
  ],
  [
    'a program twice',
    recorded('{"program":"a"}'),
    '3: expected another name for each program; found "a", as in line 2',
  ],
  [
    'an operation before any program',
    '{"kernel":"6.1"}\n{"op":"fork","args":[1]}\n',
    '2: expected a line {"program":"NAME"} first; found "{"op":"fork","args":[1]}"',
  ],
  [
    'neither program nor operation',
    recorded('{"program_status":9}'),
    '3: expected a line with "program" or "op"; found "{"program_status":9}"',
  ],
  [
    'an operation that is a number',
    recorded('{"op":1,"args":[]}'),
    '3: expected a line with "program" or "op"; found "{"op":1,"args":[]}"',
  ],
  [
    'no arguments',
    recorded('{"op":"lab_unpin"}'),
    '3: expected "args": a list of numbers and words; found "{"op":"lab_unpin"}"',
  ],
  [
    'an argument that is a list',
    recorded('{"op":"fork","args":[[1]]}'),
    '3: expected "args": a list of numbers and words; found "{"op":"fork","args":[[1]]}"',
  ],
  [
    'an unknown operation',
    recorded('{"op":"bench","args":[]}'),
    `3: expected an operation: ${OPERATIONS}; found "bench"`,
  ],
  [
    'a process that is a word',
    recorded('{"op":"exit","proc":"1","args":[]}'),
    '3: expected "proc": a process number, 0 to 63; found ""1""',
  ],
  [
    'a negative process',
    recorded('{"op":"exit","proc":-1,"args":[]}'),
    '3: expected "proc": a process number, 0 to 63; found "-1"',
  ],
  [
    'a process that never was',
    recorded('{"op":"exit","proc":1,"args":[]}'),
    `3: expected ${ALIVE}; found process 1, which was never forked`,
  ],
  [
    'a fraction',
    recorded('{"op":"mmap","args":[0,1.5,"anon","rw"]}'),
    `3: expected ${PAGES}; found "1.5"`,
  ],
  [
    'a large number',
    recorded('{"op":"mmap","args":[0,1e300,"anon","rw"]}'),
    `3: expected ${PAGES}; found "1e+300"`,
  ],
  [
    'a device that the era lacks',
    '{"kernel":"5.10"}\n{"program":"a"}\n{"op":"mmap","args":[0,1,"anon","rw"]}\n{"op":"snapshot","args":[2,0,0,1]}\n',
    '4: expected device: a dmirror of the machine, 0 to 1; found "2"',
  ],
];

describe('a program text is refused for', () => {
  const cases = [...STRUCTURE, ...OPERATION, ...PROCESSES, ...HEADER];
  it.each(cases)('%s', (_what, text, message) => {
    expect(refusedText(text)).toBe(message);
  });
});

describe('a recording is refused for', () => {
  it.each(RECORDING)('%s', (_what, text, message) => {
    expect(refusedRecording(text)).toBe(message);
  });
});
