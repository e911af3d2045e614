// What people read: who did what between the switches.

import { describe, expect, it } from 'vitest';
import { describeSchedule } from '../../src/explore/narrate.ts';
import { ORDINARY } from '../../src/explore/token.ts';
import { MACHINE, scenarioOf } from './programs.ts';
import { lostUpdate, toyScenario } from './toy.ts';

describe('a narration', () => {
  it('tells each stretch, each switch, and how it ends', () => {
    const schedule = { ...ORDINARY, deviations: [{ position: 1, alternative: 1 }] };
    const { lines, mermaid, verdict } = describeSchedule(toyScenario(lostUpdate()), schedule);
    expect(verdict.failures).toHaveLength(1);
    expect(lines).toEqual([
      'T0  op 0: load | ends: done',
      'T0  op 1: add | before add',
      'T0  is overtaken by T1 at "before add" (decision 1)',
      'T1  op 3: load | ends: done',
      'T1  op 4: add | before add, ends: done',
      'T1  op 5: store | before store, ends: done',
      'T1  is through; T0 goes on',
      'T0  op 1: add | ends: done',
      'T0  op 2: store | before store, ends: done',
      'verify: variable 0 is 1',
    ]);
    expect(mermaid).toBe(`sequenceDiagram
  participant t0 as T0
  participant t1 as T1
  Note over t0: op 0: load<br/>ends: done
  Note over t0: op 1: add<br/>before add
  t0->>t1: overtaken at "before add" (decision 1)
  Note over t1: op 3: load<br/>ends: done
  Note over t1: op 4: add<br/>before add<br/>ends: done
  Note over t1: op 5: store<br/>before store<br/>ends: done
  t1-->>t0: is through
  Note over t0: op 1: add<br/>ends: done
  Note over t0: op 2: store<br/>before store<br/>ends: done
  Note over t0,t1: verify: variable 0 is 1
`);
  });

  it('tells of faults, owners and notifiers', () => {
    const scenario = scenarioOf(`${MACHINE}
program told
mmap 0 1 anon rw
migrate_to_dev 0 0 0 1
parallel
thread A
cpu_write 0 0 1 5
join
end
`);
    const text = describeSchedule(scenario, ORDINARY).lines.join('\n');
    expect(text).toMatch(/caller {2}line 6: migrate_to_dev 0 0 0 1 \| .*migrate: collect/);
    expect(text).toMatch(/0x100000000 goes from nothing to hmm_dmirror0/);
    expect(text).toMatch(/A {7}line 9: cpu_write 0 0 1 5 \| .*faults \(write at 0x100000000\)/);
    expect(text).toMatch(/0x100000000 goes from hmm_dmirror0 to RAM/);
    expect(text).toMatch(/ends: data ok/);
    expect(text).not.toMatch(/cpu_write 0 0 1 5 \|.*is told: release/);
  });

  it('leaves out the middle of a livelock', () => {
    const spin = [{ op: 'spin', until: 0, value: 1 }] as const;
    const scenario = toyScenario({ name: 'spins', threads: [spin, spin] });
    const limits = { mostPoints: 300, livelockPoints: 200 };
    const { lines, mermaid } = describeSchedule(scenario, { ...ORDINARY, lockstep: 0 }, limits);
    expect(lines.length).toBeLessThan(110);
    expect(lines.join('\n')).toMatch(/… and so on: \d+ times more another thread goes on …/);
    expect(mermaid.split('\n').length).toBeLessThan(110);
  });
});
