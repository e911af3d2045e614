// Specification files: the ones that are shipped, and what is said of those that are wrong.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/core/machine.ts';
import { NO_TIME } from '../../src/core/timing.ts';
import { deviceTime } from '../../src/hw/device-time.ts';
import { parseTiming } from '../../src/node/timing-file.ts';
import { SPEC_NAMES, SPECS_FOLDER, spec } from './lab.ts';

interface Quantity {
  readonly path: string;
  readonly value: number;
  readonly unit: string;
  readonly source: string;
}

/** Every number of a file. */
function quantitiesOf(value: unknown, path = ''): Quantity[] {
  if (typeof value !== 'object' || value === null) return [];
  if ('value' in value && 'unit' in value) return [{ path, ...(value as Omit<Quantity, 'path'>) }];
  return Object.entries(value).flatMap(([key, inside]) => quantitiesOf(inside, `${path}.${key}`));
}

function quantitiesIn(name: string): Quantity[] {
  return quantitiesOf(JSON.parse(readFileSync(`${SPECS_FOLDER}${name}.json`, 'utf8')));
}

describe('the specifications', () => {
  it('are those that the documentation lists', () => {
    const guide = readFileSync(new URL('../../docs/timing.md', import.meta.url), 'utf8');
    expect(SPEC_NAMES.length).toBeGreaterThanOrEqual(9);
    for (const name of SPEC_NAMES) expect(guide).toContain(`examples/specs/${name}.json`);
  });

  it.each(SPEC_NAMES)('%s says of each number where it is from', (name) => {
    const numbers = quantitiesIn(name);
    expect(numbers.length).toBeGreaterThan(10);
    for (const { path, source } of numbers) {
      expect(source.length, path).toBeGreaterThan(10);
      // A guess is called one; anything else names somebody.
      expect(/^estimate|[A-Z]|https:|no time/.test(source), `${path}: ${source}`).toBe(true);
    }
  });

  it('in zero every number is 0', () => {
    expect(quantitiesIn('zero').every(({ value }) => value === 0)).toBe(true);
    const { name, links, devices, ...rest } = spec('zero');
    expect(rest).toEqual({ cpu: NO_TIME.cpu, secure: NO_TIME.secure });
    const machine = new Machine({ timing: spec('zero') });
    expect(deviceTime(machine.kernel, 'nouveau0', 'nouveau')?.movesTakeTime ?? false).toBe(false);
    expect([name, links.length, devices.length]).toEqual(['no time', 1, 1]);
  });

  it('have what their names say', () => {
    expect(spec('pcie3-gtx1080').links[0]!.toDevice.bytesPerSecond).toBe(15.754e9);
    expect(spec('nvlink4-h100').links[0]!.toHost.bytesPerSecond).toBe(450e9);
    expect(spec('c2c-gh200').links[0]).toMatchObject({
      toDevice: { bytesPerSecond: 375e9 },
      toHost: { bytesPerSecond: 297e9 },
    });
    expect(spec('power-uvmem').secure.ultracallNs).toBe(1500);
  });
});

describe('a specification', () => {
  it('of the documentation is one', () => {
    const guide = readFileSync(new URL('../../docs/timing.md', import.meta.url), 'utf8');
    const examples = [...guide.matchAll(/```json\n(.*?)```/gs)].map(([, text]) => text!);
    expect(examples).toHaveLength(1);
    const { links, devices } = parseTiming(examples[0]!, 'docs/timing.md');
    expect(links[0]).toMatchObject({ name: 'wire', shared: true });
    expect(devices.map(({ device }) => device)).toEqual(['*', 'nouveau1']);
  });

  it('may leave out what takes no time', () => {
    expect(parseTiming('{"name":"a"}', 'f')).toEqual({ ...NO_TIME, name: 'a' });
  });

  it('counts in nanoseconds and bytes', () => {
    const text = JSON.stringify({
      name: 'a',
      cpu: {
        kernelEntry: { value: 1.5, unit: 'us', source: 's' },
        copyBandwidth: { value: 3, unit: 'MB/s', source: 's' },
      },
      links: { l: { packet: { value: 4, unit: 'KiB', source: 's' } } },
    });
    const { cpu, links } = parseTiming(text, 'f');
    expect(cpu).toMatchObject({ kernelEntryNs: 1500, copyBytesPerSecond: 3e6 });
    expect(links[0]).toMatchObject({ name: 'l', shared: false, packetBytes: 4096 });
  });

  it('gives a device its numbers by name, then by driver, then by *', () => {
    const replay = (value: number) => ({ replay: { value, unit: 'ns', source: 's' } });
    const devices = { '*': replay(1), nouveau: replay(2), nouveau1: replay(3) };
    const timing = parseTiming(JSON.stringify({ name: 'a', devices }), 'f');
    const { kernel } = new Machine({ timing });
    const of = (name: string, driver: string) => deviceTime(kernel, name, driver)!.timing.replayNs;
    expect(of('nouveau1', 'nouveau')).toBe(3);
    expect(of('nouveau0', 'nouveau')).toBe(2);
    expect(of('hmm_dmirror0', 'dmirror')).toBe(1);
  });

  const entry = (text: string): string => `{"name":"a","cpu":{"kernelEntry":${text}}}`;
  it.each([
    ['{', 'f:1: expected JSON; found the end where it cannot stand'],
    ['{"name":"a",\n"b":}', 'f:2: expected JSON; found "}" where it cannot stand'],
    ['{"name":"a"}\n\n!', 'f:3: expected JSON; found "!" where it cannot stand'],
    ['[]', 'f: expected an object; found a list'],
    ['7', 'f: expected an object; found number'],
    ['{}', 'f: name: expected a value; found nothing'],
    ['{"name":""}', 'f: name: expected some text; found ""'],
    ['{"name":7}', 'f: name: expected string; found 7'],
    ['{"name":"a","cpu":[]}', 'f: cpu: expected an object; found a list'],
    ['{"name":"a","secure":null}', 'f: secure: expected an object; found null'],
    [
      '{"name":"a","cpus":1}',
      'f: the file: expected one of name, about, cpu, links, devices, secure; found "cpus"',
    ],
    [
      '{"name":"a","links":{"p":{"toHost":{"bandwith":1}}}}',
      'f: links.p.toHost: expected one of bandwidth, latency; found "bandwith"',
    ],
    [entry('5'), 'f: cpu.kernelEntry: expected an object; found 5'],
    [
      entry('{"value":1,"unit":"ns"}'),
      'f: cpu.kernelEntry.source: expected a value; found nothing',
    ],
    [
      entry('{"value":1,"unit":"ns","source":""}'),
      'f: cpu.kernelEntry.source: expected some text; found ""',
    ],
    [
      entry('{"value":-1,"unit":"ns","source":"s"}'),
      'f: cpu.kernelEntry.value: expected a number from 0 on; found -1',
    ],
    [
      entry('{"value":1e300,"unit":"ms","source":"s"}'),
      'f: cpu.kernelEntry.value: expected 0, or a number from 0.000001 to 1000000000000000',
    ],
    [
      '{"name":"a","cpu":{"copyBandwidth":{"value":1e-300,"unit":"B/s","source":"s"}}}',
      'f: cpu.copyBandwidth.value: expected 0, or a number from 0.000001 to 1000000000000000',
    ],
    [
      entry('{"value":"1","unit":"ns","source":"s"}'),
      'f: cpu.kernelEntry.value: expected number; found "1"',
    ],
    [
      entry('{"value":1,"unit":"GB/s","source":"s"}'),
      'f: cpu.kernelEntry.unit: expected "ns" or "us" or "ms"; found "GB/s"',
    ],
    [
      entry('{"value":1,"unit":"ns","source":"s","note":"n"}'),
      'f: cpu.kernelEntry: expected one of value, unit, source; found "note"',
    ],
    [
      '{"name":"a","cpu":{"cpus":{"value":1.5,"unit":"count","source":"s"}}}',
      'f: cpu.cpus.value: expected a whole number; found 1.5',
    ],
    [
      '{"name":"a","links":{"p":{}},"devices":{"*":{"link":"q"}}}',
      'f: devices.*.link: expected p; found "q"',
    ],
    [
      '{"name":"a","devices":{"*":{"link":"q"}}}',
      'f: devices.*.link: expected nothing, for there are no links; found "q"',
    ],
  ])('%s is refused', (text, message) => {
    expect(() => parseTiming(text, 'f')).toThrow(message);
  });

  it('with a number that is not finite is refused', () => {
    expect(() => parseTiming(entry('{"value":1e999,"unit":"ns","source":"s"}'), 'f')).toThrow(
      'f: cpu.kernelEntry.value: expected a finite number; found ',
    );
  });
});
