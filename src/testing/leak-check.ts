/** What is left when every process has ended. */
import { leakedMemory } from '../core/leaks.ts';
import type { Machine } from '../core/machine.ts';

/**
 * Ends every process of a machine, newest first, and says what did not come back: one line each, no
 * line if nothing leaked. Pages of RAM, pages of devices, and whatever `verify` finds.
 */
export function leakCheck(machine: Machine): string[] {
  for (const proc of [...machine.processes.values()].reverse()) machine.run(proc.exitTask());
  const findings = machine.verify({ full: true });
  return leakedMemory(machine).concat(findings.map(({ message }) => message));
}
