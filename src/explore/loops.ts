/** What is repeated over and over, told once. */

/** Loops of more parts are not looked for. */
const PARTS_MAX = 16;
/** What occurs fewer times in a row is told each time. */
const TIMES_MIN = 3;

/** `parts` with each loop in it told once, by way of `tell`. */
export function foldLoops(
  parts: readonly string[],
  tell: (loop: readonly string[], times: number) => readonly string[],
): string[] {
  const told: string[] = [];
  for (let i = 0; i < parts.length; ) {
    let [length, times] = [1, 1];
    for (let tried = 1; tried <= PARTS_MAX && times < TIMES_MIN; tried++) {
      [length, times] = [tried, timesAt(parts, i, tried)];
    }
    if (times < TIMES_MIN) told.push(parts[i++]!);
    else {
      told.push(...tell(parts.slice(i, i + length), times));
      i += length * times;
    }
  }
  return told;
}

/** How often the `length` parts from `start` on follow each other. */
function timesAt(parts: readonly string[], start: number, length: number): number {
  let end = start + length;
  while (end < parts.length && parts[end] === parts[end - length]) end++;
  return Math.floor((end - start) / length);
}
