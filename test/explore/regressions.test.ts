// Programs in whose orders of events the emulator itself went wrong once.

import { describe, expect, it } from 'vitest';
import { scenarioOf, searched } from './programs.ts';

describe('no order of events', () => {
  it('renews a dead channel of a GPU twice', () => {
    const scenario = scenarioOf(`machine ram 1MiB
device nouveau vram 2MiB mended
program dead-channel
mmap 0 2 anon rw
munmap 0 1 1
gpu_atomic 0 0 1 1 1
parallel
thread A
gpu_suspend 0
gpu_atomic 0 0 0 1 1
thread B
gpu_write 0 0 1 1 64
gpu_read 0 0 1 1
join
end
`);
    const { findings } = searched(scenario, { schedules: 300 });
    expect(findings.map(({ failure }) => failure.message)).toEqual([]);
  });

  it('keeps a channel that is hung up while it is renewed', () => {
    const scenario = scenarioOf(`machine ram 1MiB
device nouveau vram 2MiB mended
program removed-channel
mmap 0 1 anon rw
gpu_read 0 0 1 1
parallel
thread A
gpu_read 0 0 0 1
thread B
gpu_remove 0
join
end
`);
    const { findings } = searched(scenario, { schedules: 300 });
    expect(findings.map(({ failure }) => failure.message)).toEqual([]);
  });
});
