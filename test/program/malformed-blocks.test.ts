// Blocks, names of results, expects, rules and faults that are refused: each with what was expected.

import { describe, expect, it } from 'vitest';
import { FAULT_SITES } from '../../src/core/fault-plan.ts';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { Language, operation } from '../../src/program/index.ts';
import { type Case, refusedText } from './refused.ts';

/** A program whose first operations map buffer 0 and fork process 1; `lines` begin in line 4. */
function after(...lines: readonly string[]): string {
  return ['program a', 'mmap 0 4 anon rw', 'fork 1', ...lines, 'end', ''].join('\n');
}

/** The same with a block of two threads; A's operations begin in line 6. */
function block(a: readonly string[], b: readonly string[]): string {
  return after('parallel', 'thread A', ...a, 'thread B', ...b, 'join');
}

const ALIVE = 'a process that was forked and has not exited';
const FORMS = 'LABEL.FIELD=VALUE, value(BUFFER,OFFSET)=VALUE or owner(BUFFER,OFFSET)=NAME';

const BLOCKS: readonly Case[] = [
  [
    'a thread outside of a block',
    after('thread A'),
    '4: expected parallel before the first thread; found "thread A"',
  ],
  ['a join without a block', after('join'), '4: expected parallel before join; found "join"'],
  [
    'an operation before the first thread',
    after('parallel', 'cpu_read 0 0 1', 'thread A', 'join'),
    '5: expected thread NAME, after parallel of line 4; found "cpu_read 0 0 1"',
  ],
  [
    'a block without a thread',
    after('parallel', 'join'),
    '5: expected thread NAME, after parallel of line 4; found "join"',
  ],
  [
    'a block that is not joined',
    after('parallel', 'thread A', 'cpu_read 0 0 1'),
    '7: expected join first, for parallel of line 4; found "end"',
  ],
  [
    'a block at the end of the file',
    'program a\nparallel\nthread A\n',
    '3: expected join, for parallel of line 2; found the end of the file',
  ],
  [
    'a block in a block',
    after('parallel', 'thread A', 'parallel'),
    '6: expected join first, for parallel of line 4; found "parallel"',
  ],
  [
    'a program in a block',
    after('parallel', 'thread A', 'program b'),
    '6: expected join first, for parallel of line 4; found "program b"',
  ],
  [
    'an expect in a block',
    after('parallel', 'thread A', 'expect value(0,0)=0'),
    '6: expected join first, for parallel of line 4; found "expect value(0,0)=0"',
  ],
  [
    'two threads of one name',
    after('parallel', 'thread A', 'thread B', 'thread A', 'join'),
    '7: expected another name for each thread of a block; found "A", as in line 5',
  ],
  [
    'a thread without a name',
    after('parallel', 'thread'),
    '5: expected thread and a name of one word; found "thread"',
  ],
  [
    'a thread with a strange name',
    after('parallel', 'thread 1st'),
    '5: expected a name for the thread: a letter, then up to 39 letters, digits or _; found "1st"',
  ],
  [
    'a thread with the name of the main thread',
    after('parallel', 'thread caller'),
    '5: expected another name than caller, which the main thread has; found "caller"',
  ],
  [
    'too many threads',
    after('parallel', ...Array.from({ length: 17 }, (_, i) => `thread T${i}`), 'join'),
    '21: expected at most 16 threads in a block; found "thread T16"',
  ],
  ['words after parallel', after('parallel 2'), '4: expected nothing after parallel; found "2"'],
  [
    'words after join',
    after('parallel', 'thread A', 'join A'),
    '6: expected nothing after join; found "A"',
  ],
  [
    'a block outside of a program',
    'parallel\n',
    '1: expected machine, device or program NAME; found "parallel"',
  ],
];

const THREADS: readonly Case[] = [
  [
    'a buffer that two threads name',
    block(['mmap 1 1 anon rw'], ['mmap 1 2 anon rw']),
    '8: expected a buffer that no other thread of the block names; ' +
      'found buffer 1, which thread A names in line 6',
  ],
  [
    'a buffer that another thread names',
    block(['mmap 1 1 anon rw'], ['cpu_read 1 0 1']),
    '8: expected buffer: the number of a buffer that an mmap or mremap of this process named; found "1"',
  ],
  [
    'a process that another thread forks',
    block(['fork 2'], ['@2 cpu_read 0 0 1']),
    `8: expected ${ALIVE}; found process 2, which thread A forks in line 6`,
  ],
  [
    'a process that two threads fork',
    block(['fork 2'], ['fork 2']),
    '8: expected process: a number from 1 to 63 that no process had yet; found "2"',
  ],
  [
    'a process that ends in another thread',
    block(['@1 exit'], ['@1 cpu_read 0 0 1']),
    `8: expected ${ALIVE}; found process 1, which ends in thread A, line 6`,
  ],
  [
    'the end of a process that another thread uses',
    block(['@1 cpu_read 0 0 1'], ['@1 exit']),
    '8: expected a process that no other thread uses; found process 1, which thread A uses in line 6',
  ],
  [
    'a process that ended in a block',
    after('parallel', 'thread A', '@1 exit', 'join', '@1 cpu_read 0 0 1'),
    `8: expected ${ALIVE}; found process 1, which has exited`,
  ],
];

const LABELS: readonly Case[] = [
  [
    'two results of one name',
    block(['r1 = cpu_read 0 0 1'], ['r1 = cpu_read 0 0 1']),
    '8: expected another name for each result; found "r1", as in line 6',
  ],
  [
    'a name in capitals',
    after('R1 = cpu_read 0 0 1'),
    '4: expected a name for the result: a small letter, then up to 39 of them, digits or _; found "R1"',
  ],
  [
    'the name of an operation',
    after('fork = cpu_read 0 0 1'),
    '4: expected a name for the result that is no operation or other word of the language; found "fork"',
  ],
  [
    'a word of the language',
    after('value = cpu_read 0 0 1'),
    '4: expected a name for the result that is no operation or other word of the language; found "value"',
  ],
  [
    'a name and nothing',
    after('r1 ='),
    '4: expected an operation after r1 =; found the end of the line',
  ],
  [
    'a name and a process and nothing',
    after('r1 = @1'),
    '4: expected an operation after @1; found the end of the line',
  ],
];

const EXPECTS: readonly Case[] = [
  ['nothing', after('expect'), `4: expected ${FORMS}; found the end of the line`],
  ['an unknown form', after('expect 0=0'), `4: expected ${FORMS}; found "0=0"`],
  ['another sign', after('expect value(0,0)>0'), `4: expected ${FORMS}; found "value(0,0)>0"`],
  [
    'an owner without a name',
    after('expect owner(0,0)='),
    `4: expected ${FORMS}; found "owner(0,0)="`,
  ],
  [
    'no label at all',
    after('expect r1.data=1'),
    '4: expected the name of a result: of which there are none so far; found "r1.data=1"',
  ],
  [
    'a label of later',
    after('r2 = cpu_read 0 0 1', 'expect r1.data=1', 'r1 = cpu_read 0 0 1'),
    '5: expected the name of a result: r2; found "r1.data=1"',
  ],
  [
    'a label without a field',
    after('r1 = cpu_read 0 0 1', 'expect r1=1'),
    `5: expected ${FORMS}; found "r1=1"`,
  ],
  [
    'two atoms with nothing between them',
    after('expect value(0,0)=0 value(0,1)=0'),
    '4: expected and, or, or the end of the line; found "value(0,1)=0"',
  ],
  [
    'an or at the end',
    after('expect value(0,0)=0 or'),
    `4: expected ${FORMS}; found the end of the line`,
  ],
  [
    'an unknown buffer',
    after('expect value(1,0)=0'),
    '4: expected the number of a buffer that an mmap or mremap of that process named; found "value(1,0)=0"',
  ],
  [
    'a page that no buffer can have',
    after('expect value(0,65536)=0'),
    '4: expected an offset: a number from 0 to 65535; found "value(0,65536)=0"',
  ],
  [
    'an unknown process',
    after('expect @2:value(0,0)=0'),
    `4: expected ${ALIVE}; found "@2:value(0,0)=0"`,
  ],
  [
    'a value that no word has',
    after('expect value(0,0)=4294967296'),
    '4: expected a value: a number from 0 to 4294967295; found "value(0,0)=4294967296"',
  ],
  [
    'an unknown owner',
    after('expect owner(0,0)=gpu'),
    '4: expected an owner: ram, none, hmm_dmirror0, hmm_dmirror1, hmm_dmirror2, hmm_dmirror3, ' +
      'pgmaplab, lab_owner_0, lab_owner_1, lab_owner_2 or lab_owner_3; found "owner(0,0)=gpu"',
  ],
];

const RULE_NAMES = /^1: expected a rule: selection, .*, faultPage, .* or \w+; found "pageFault"$/;

const HEADER: readonly Case[] = [
  [
    'rules without a rule',
    'machine rules\n',
    '1: expected rules: RULE=VALUE,RULE=VALUE,…; found the end of the line',
  ],
  [
    'a rule without a value',
    'machine rules faultPage\n',
    '1: expected rules: RULE=VALUE,RULE=VALUE,…; found "faultPage"',
  ],
  [
    'a value that the rule cannot have',
    'machine rules faultPage=no\n',
    '1: expected faultPage: true or false; found "no"',
  ],
  [
    'a selection that there is not',
    'machine rules selection=owner\n',
    '1: expected selection: any-owner, src-owner or flags; found "owner"',
  ],
  [
    'another number of references',
    'machine rules freeDevicePageRefs=2\n',
    '1: expected freeDevicePageRefs: 0 or 1; found "2"',
  ],
  [
    'a rule twice',
    'machine rules faultPage=true,faultPage=false\n',
    '1: expected faultPage only once; found "faultPage=false"',
  ],
  [
    'rules that exclude a device',
    'machine rules deviceCoherent=false\ndevice dmirror coherent\nprogram a\nend\n',
    '1: expected rules that its devices can live with; found v6.1 has no device-coherent memory',
  ],
];

const SITES = FAULT_SITES.map(({ site }) => site);
const FAULTS: readonly Case[] = [
  [
    'an unknown site',
    after('fail disk 1'),
    `4: expected site: ${SITES.slice(0, -1).join(', ')} or ${SITES.at(-1)}; found "disk"`,
  ],
  ['attempt 0', after('fail ram 0'), '4: expected n: a number from 1 to 1000000; found "0"'],
  ['no number', after('fail ram'), '4: expected "fail SITE N"; found 1 argument'],
  [
    'a pin of no pages',
    after('page_pin 0 0 0'),
    '4: expected pages: a number from 1 to 65536; found "0"',
  ],
];

describe('a block is refused for', () => {
  it.each([...BLOCKS, ...THREADS])('%s', (_what, text, message) => {
    expect(refusedText(text)).toBe(message);
  });
});

describe('the name of a result is refused for', () => {
  it.each(LABELS)('%s', (_what, text, message) => {
    expect(refusedText(text)).toBe(message);
  });
});

describe('an expect is refused for', () => {
  it.each(EXPECTS)('%s', (_what, text, message) => {
    expect(refusedText(text)).toBe(message);
  });
});

describe('the header is refused for', () => {
  it.each(HEADER)('%s', (_what, text, message) => {
    expect(refusedText(text)).toBe(message);
  });

  it('an unknown rule, with all that are known', () => {
    expect(refusedText('machine rules pageFault=true\n')).toMatch(RULE_NAMES);
    expect(refusedText('machine rules name=v6.1\n')).toMatch(
      /^1: expected a rule: .*found "name"$/,
    );
  });
});

describe('a fault on purpose is refused for', () => {
  it.each(FAULTS)('%s', (_what, text, message) => {
    expect(refusedText(text)).toBe(message);
  });
});

describe('a driver', () => {
  it('may not name an operation as the language names its own things', () => {
    const join = operation({
      name: 'join',
      summary: 'joins',
      args: [],
      // biome-ignore lint/correctness/useYield: an operation is a task, also one that never sleeps
      *run() {
        return {};
      },
    });
    const drivers = [...LANGUAGE.drivers.values()].slice(0, 1);
    const factory = { ...drivers[0]!, operations: [join] };
    expect(() => new Language({ drivers: [factory], defaultDevices: [] })).toThrow(
      'join is a word of the language and can be no operation',
    );
  });
});
