/** Numbers of bytes, as people write them. */
import { parseSize } from '../workloads/play/index.ts';
import { UsageError } from './errors.ts';

/** The value of a flag such as `--memory 64M`, in bytes. */
export function parseBytes(flag: string, text: string, min: number): number {
  const bytes = parseSize(text);
  if (bytes >= min && Number.isSafeInteger(bytes)) return bytes;
  const found = JSON.stringify(text);
  throw new UsageError(
    `${flag}: expected a size from ${min} bytes on, such as 64K or 16M; found ${found}`,
  );
}

/** "64 KiB", "1.5 MiB". */
export function sizeText(bytes: number): string {
  for (const [unit, size] of UNITS) {
    if (bytes >= size) return `${Number((bytes / size).toPrecision(3))} ${unit}`;
  }
  return `${bytes} bytes`;
}

const UNITS = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
] as const;
