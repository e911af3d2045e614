/** The end of a program as text, to tell outcomes apart. */
import { leafIndex } from '../core/mm/page-table.ts';
import {
  PTE_DEVICE_EXCLUSIVE,
  PTE_DEVICE_PRIVATE,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PROTNONE,
  PTE_WRITE,
} from '../core/mm/pte.ts';
import { NO_PAGE } from '../core/units.ts';
import { ownerName } from './expectation.ts';
import type { ProgramRunner } from './run.ts';
import type { ProgramProcess } from './types.ts';

/**
 * Every page of every buffer of every process (value, owner, how it is mapped), and every result in
 * the order of the text. Two runs of a program with equal texts had the same outcome.
 */
export function finalState(runner: ProgramRunner): string {
  const lines: string[] = [];
  const processes = [...runner.processes.values()].sort((a, b) => a.number - b.number);
  for (const one of processes) addProcess(lines, runner, one);
  runner.results.forEach((result, index) => {
    lines.push(`step ${index}: ${JSON.stringify(result)}`);
  });
  return lines.join('\n');
}

/** A line for each buffer: "process 0 buffer 1: 7/ram/rw 0/none". */
function addProcess(lines: string[], runner: ProgramRunner, one: ProgramProcess): void {
  const buffers = [...one.buffers].sort(([a], [b]) => a - b);
  for (const [id, { address, pages }] of buffers) {
    let line = `process ${one.number} buffer ${id}:`;
    const first = one.process.mm.vpn(address);
    for (let i = 0; i < pages; i++) line += ` ${pageText(runner, one, first + i)}`;
    lines.push(line);
  }
  if (buffers.length === 0) lines.push(`process ${one.number}`);
}

function pageText(runner: ProgramRunner, { process: { mm } }: ProgramProcess, vpn: number): string {
  const leaf = mm.pageTable.leaf(vpn);
  const at = leafIndex(vpn);
  const kind = leaf?.kind(at) ?? PTE_NONE;
  if (leaf === null || kind === PTE_NONE) return '-';
  const page = leaf.page[at]!;
  const bits = leaf.bits[at]!;
  const rights = (bits & PTE_PROTNONE) !== 0 ? 'n' : (bits & PTE_WRITE) !== 0 ? 'rw' : 'r';
  if (page === NO_PAGE) return `0/none/${rights}`;
  return `${mm.pages.read32(page, 0)}/${ownerName(runner, page)}/${MARKS.get(kind) ?? rights}`;
}

/** How an entry that is not present maps its page. */
const MARKS: ReadonlyMap<number, string> = new Map([
  [PTE_DEVICE_PRIVATE, 'device'],
  [PTE_DEVICE_EXCLUSIVE, 'exclusive'],
  [PTE_MIGRATION, 'migrating'],
]);
