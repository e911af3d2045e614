/** Places, lines and errors in the words of a finding. */
import type { Step } from '../../src/program/index.ts';
import { BUFFER_STRIDE_PAGES } from './model.ts';

export function where(process: number, pageNumber: number): string {
  const buffer = Math.floor(pageNumber / BUFFER_STRIDE_PAGES);
  return `page ${pageNumber % BUFFER_STRIDE_PAGES} of buffer ${buffer} of process ${process}`;
}

export function lineOf({ line, process, operation, words }: Step): string {
  const prefix = process === 0 ? [] : [`@${process}`];
  return `line ${line}, ${[...prefix, operation.name, ...words].join(' ')}`;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
