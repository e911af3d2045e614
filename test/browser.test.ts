// The library is one file for a browser: no Node built-in is in it, and a program runs where there is no Node.
import { fileURLToPath } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

const DOOR = fileURLToPath(new URL('../src/index.ts', import.meta.url));

const PROGRAM = `program handed-over
mmap 0 4 anon rw
cpu_write 0 0 4 100
migrate_to_dev 0 0 0 4
cpu_read 0 0 2
snapshot 0 0 0 4
end
`;

/** What a page of a browser would do with the bundle. */
const SCRIPT = `
  const { LANGUAGE, parsePrograms, buildMachine, runProgram, resultLine } = hmmlab;
  const text = parsePrograms(source, { file: 'handed-over.txt', language: LANGUAGE });
  const machine = buildMachine(text.machine, LANGUAGE);
  const lines = [];
  for (const done of runProgram(machine, text.programs[0], {})) {
    lines.push(resultLine(done.step, done.result));
  }
  JSON.stringify({ lines, findings: machine.verify() });
`;

describe('the bundle for a browser', async () => {
  const bundle = await build({
    entryPoints: [DOOR],
    bundle: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'hmmlab',
    metafile: true,
    write: false,
    logLevel: 'silent',
  });

  it('takes in nothing of Node', () => {
    const imports = Object.values(bundle.metafile.inputs).flatMap((input) => input.imports);
    expect(imports.filter(({ external }) => external === true)).toEqual([]);
    expect(imports.map(({ path }) => path).filter((path) => path.startsWith('node:'))).toEqual([]);
  });

  it('runs a program without Node', () => {
    const context = createContext({ source: PROGRAM });
    expect(runInContext('typeof process + typeof require + typeof Buffer', context)).toBe(
      'undefinedundefinedundefined',
    );
    runInContext(bundle.outputFiles[0]!.text, context);
    const { lines, findings } = JSON.parse(runInContext(SCRIPT, context));
    expect(findings).toEqual([]);
    expect(lines.slice(2)).toEqual([
      '{"op":"migrate_to_dev","args":[0,0,0,4],"ret":"0","cpages":4,"faults":0,"data":[100,101,102,103]}',
      '{"op":"cpu_read","args":[0,0,2],"data":[100,101]}',
      '{"op":"snapshot","args":[0,0,0,4],"ret":"0","cpages":4,"faults":0,"perms":[2,2,34,34]}',
    ]);
  });
});
