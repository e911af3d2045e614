// Captures the traces of examples/traces anew: real programs under valgrind's lackey, through
// `hmmlab import`. Needs valgrind, gcc and the programs themselves (Debian: valgrind gcc perl sqlite3).
//
//     node scripts/capture-traces.mjs            all of them
//     node scripts/capture-traces.mjs gzip bfs   these

import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const TRACES = join(ROOT, 'examples', 'traces');
const HMMLAB = join(ROOT, 'dist', 'cli', 'main.js');
const LACKEY = [
  '--tool=lackey',
  '--trace-mem=yes',
  '--basic-counts=no',
  '--trace-syscalls=yes',
  '--trace-sched=yes',
  '--log-fd=9',
];

/** Of inputs, programs and unfinished traces; gone at the end, however that comes. */
const folder = mkdtempSync(join(tmpdir(), 'capture-traces-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** What runs now. */
const children = new Set();
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const child of children) child.kill('SIGKILL');
    process.stderr.write('capture-traces: interrupted\n');
    process.exit(130);
  });
}

/**
 * Each has what it needs made before it runs. The filter is the usual 64 where that leaves enough to play,
 * else a smaller one.
 */
const PROGRAMS = {
  gzip: { filter: 16, needs: ['gzip'], run: () => ['gzip', '-c', text('text.txt', 4000)] },
  sort: {
    filter: 16,
    needs: ['sort'],
    run: () => ['sort', '-n', '--parallel=1', numbers('numbers.txt', 8000)],
  },
  perl: { filter: 64, needs: ['perl'], run: () => ['perl', '-e', PERL] },
  sqlite: { filter: 16, needs: ['sqlite3'], run: () => ['sqlite3', ':memory:', SQL] },
  grep: {
    filter: 8,
    needs: ['grep'],
    run: () => ['grep', '-c', '-E', 'a[b-m]+z|qu', text('grep.txt', 60_000)],
  },
  stencil: { filter: 8, needs: ['gcc'], run: () => [compiled('stencil'), '512', '4', '3'] },
  bfs: { filter: 64, needs: ['gcc'], run: () => [compiled('bfs'), '40000', '6'] },
};

const PERL =
  'for my $i (1..12000) { $h{($i * 7919) % 100003} = "value $i" } $s += length for values %h; print $s';
const SQL = `create table t(id integer primary key, k integer, v text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 4000)
insert into t select i, (i * 7919) % 10007, 'row ' || i from n;
create index tk on t(k);
select count(*), sum(id) from t where k between 1000 and 6000;
select max(v) from t where k % 7 = 3;`;

main(process.argv.slice(2)).catch((error) => {
  process.stderr.write(`capture-traces: ${error.message}\n`);
  process.exitCode = 1;
});

async function main(names) {
  const chosen = names.length > 0 ? names : Object.keys(PROGRAMS);
  for (const name of chosen) {
    if (!Object.hasOwn(PROGRAMS, name)) {
      const names = Object.keys(PROGRAMS).join(', ');
      throw new Error(`expected names of ${names}; found ${JSON.stringify(name)}`);
    }
    for (const tool of ['valgrind', ...PROGRAMS[name].needs]) mustBeThere(tool);
  }
  if (!existsSync(HMMLAB)) throw new Error('expected dist/cli/main.js; found none (npm run build)');
  for (const name of chosen) {
    const out = join(TRACES, `${name}.pages.gz`);
    process.stdout.write(`${name}: `);
    const began = Date.now();
    await capture(name, PROGRAMS[name], out);
    process.stdout.write(
      `${statSync(out).size} bytes, ${Math.round((Date.now() - began) / 1000)} s\n`,
    );
  }
}

/**
 * valgrind writes to descriptor 9, which is the standard input of the import. What was there before stays
 * until both have ended well: a trace that breaks off looks like a short one.
 */
async function capture(name, { filter, run }, out) {
  const command = run();
  const fresh = join(folder, `${name}.pages.gz`);
  const importer = spawn(
    process.execPath,
    [
      HMMLAB,
      'import',
      '-',
      '--format',
      'lackey',
      '--filter',
      String(filter),
      '--name',
      name,
      '--out',
      fresh,
    ],
    { stdio: ['pipe', 'ignore', 'pipe'] },
  );
  const lackey = spawn('valgrind', [...LACKEY, ...command], {
    cwd: folder,
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'inherit', ...Array(5).fill('ignore'), 'ignore', 'pipe'],
  });
  lackey.stdio[9].pipe(importer.stdin);
  // It gave up, and says why itself.
  importer.stdin.on('error', () => lackey.kill());
  let complaint = '';
  importer.stderr.on('data', (text) => {
    complaint += text;
  });
  const [traced, imported] = await Promise.all([ended(lackey), ended(importer)]);
  if (imported !== 0) throw new Error(`the import of ${name}: ${complaint.trim()}`);
  if (traced !== 0) throw new Error(`${name} ended with ${traced} under valgrind`);
  copyFileSync(fresh, out);
}

function ended(child) {
  children.add(child);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      children.delete(child);
      resolve(code);
    });
  });
}

function mustBeThere(tool) {
  if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined) return;
  throw new Error(`expected the program ${tool} to be installed; found none`);
}

function compiled(name) {
  const source = join(TRACES, 'src', `${name}.c`);
  const program = join(folder, name);
  const { status, stderr } = spawnSync('gcc', ['-O1', '-pthread', '-o', program, source]);
  if (status !== 0) throw new Error(`gcc could not compile ${name}.c: ${stderr}`);
  return program;
}

/** Words of a small language of our own, the same every time. */
function text(name, words) {
  let state = 12345;
  const draw = (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  const line = [];
  const lines = [];
  for (let i = 0; i < words; i++) {
    let word = '';
    for (let syllables = 1 + draw(3); syllables > 0; syllables--) {
      word += 'bdfghklmnprstvz'[draw(15)] + 'aeiou'[draw(5)];
    }
    line.push(word);
    if (line.length === 12) lines.push(line.splice(0).join(' '));
  }
  const path = join(folder, name);
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

function numbers(name, count) {
  const path = join(folder, name);
  const all = Array.from({ length: count }, (_, i) => Math.imul(i, 2654435761) >>> 0);
  writeFileSync(path, `${all.join('\n')}\n`);
  return path;
}
