import { describe, expect, it } from 'vitest';
import type { TrespassEvent } from '../../src/core/events/types.ts';
import { Machine } from '../../src/core/machine.ts';
import { NO_PAGE, type Page } from '../../src/core/units.ts';
import { BusMaster, MASTER_ABORT } from '../../src/hw/bus.ts';
import { codeOf } from '../core/tasks.ts';
import { devicePage, owner, ramPage } from './lab.ts';

const gpu0 = owner('gpu0');
const gpu1 = owner('gpu1');

/** A bus of gpu0, and all trespasses that are told. */
function onBus(machine: Machine = new Machine()) {
  const told: TrespassEvent[] = [];
  machine.events.on('trespass', (event) => told.push(event));
  const { pages } = machine.kernel;
  return { machine, pages, told, bus: new BusMaster(machine.kernel, gpu0) };
}

describe('what a device reaches', () => {
  const rows: [what: string, page: (machine: Machine) => Page, reached: boolean][] = [
    ['the zero page', () => NO_PAGE, true],
    ['RAM', (machine) => ramPage(machine), true],
    ['its own private memory', (machine) => devicePage(machine, gpu0), true],
    ['private memory of another owner', (machine) => devicePage(machine, gpu1), false],
    ['coherent memory of another owner', (m) => devicePage(m, gpu1, 'coherent'), true],
    ['private memory of an owner of the same name', (m) => devicePage(m, owner('gpu0')), false],
  ];

  it.each(rows)('%s', (_what, make, reached) => {
    const { machine, bus, told } = onBus();
    const page = make(machine);
    expect(bus.reaches(page)).toBe(reached);
    expect(bus.read32(page, 0)).toBe(reached ? 0 : MASTER_ABORT);
    expect(told).toHaveLength(reached ? 0 : 1);
    expect(machine.kernel.trespasses).toBe(told.length);
  });
});

describe('private memory of its own that has nothing behind it', () => {
  it('reads as all ones and takes no writes, and nobody trespassed', () => {
    const { machine, pages, told } = onBus();
    let isThere = true;
    const bus = new BusMaster(machine.kernel, gpu0, { answers: () => isThere });
    const own = devicePage(machine, gpu0);
    const coherent = devicePage(machine, gpu0, 'coherent');
    const ram = ramPage(machine, 5);
    bus.write32(own, 0, 7);
    isThere = false;
    expect(bus.reaches(own)).toBe(true);
    expect([own, coherent, ram].map((page) => bus.read32(page, 0))).toEqual([MASTER_ABORT, 0, 5]);
    bus.write32(own, 0, 8);
    bus.copyPage(own, ram);
    bus.clearPage(own);
    bus.copyPage(ram, own);
    expect([0, 1].map((word) => pages.read32(ram, word))).toEqual([MASTER_ABORT, MASTER_ABORT]);
    isThere = true;
    expect(bus.read32(own, 0)).toBe(7);
    expect(told).toEqual([]);
  });
});

describe('memory that does not answer', () => {
  it('is not changed, and the trespass names all there is to name', () => {
    const { machine, pages, bus, told } = onBus();
    const foreign = devicePage(machine, gpu1);
    pages.write32(foreign, 3, 7);
    bus.write32(foreign, 3, 8, 42, 0x1000c);
    expect(pages.read32(foreign, 3)).toBe(7);
    const { kind, by, what, page, owner, pid, va } = told[0]!;
    expect({ kind, by, what, page, owner, pid, va }).toEqual({
      kind: 'trespass',
      by: 'gpu0',
      what: 'write',
      page: foreign,
      owner: gpu1,
      pid: 42,
      va: 0x1000c,
    });
  });

  it('is counted when nobody listens', () => {
    const machine = new Machine();
    const bus = new BusMaster(machine.kernel, gpu0);
    bus.read32(devicePage(machine, gpu1), 0);
    expect(machine.kernel.trespasses).toBe(1);
  });

  it('fills a copy with ones', () => {
    const { machine, pages, bus, told } = onBus(new Machine({ pageSize: 65536 }));
    const foreign = devicePage(machine, gpu1);
    pages.write32(foreign, 0, 7);
    const to = ramPage(machine, 5);
    bus.copyPage(to, foreign);
    expect(pages.readPage(to)).toEqual(new Uint32Array(65536 / 4).fill(0xffffffff));
    expect(told.map(({ what, page }) => [what, page])).toEqual([['read', foreign]]);
  });

  it('takes no copy and is not cleared', () => {
    const { machine, pages, bus, told } = onBus();
    const foreign = devicePage(machine, gpu1);
    pages.write32(foreign, 0, 7);
    bus.copyPage(foreign, ramPage(machine, 5));
    bus.clearPage(foreign);
    expect(pages.read32(foreign, 0)).toBe(7);
    expect(told.map(({ what }) => what)).toEqual(['write', 'write']);
  });

  it('is told twice where both sides of a copy do not answer', () => {
    const { machine, bus, told } = onBus();
    const [from, to] = [devicePage(machine, gpu1), devicePage(machine, gpu1)];
    bus.copyPage(to, from);
    expect(told.map(({ what, page }) => [what, page])).toEqual([
      ['read', from],
      ['write', to],
    ]);
  });
});

describe('memory that answers', () => {
  it('is read and written', () => {
    const { machine, bus, pages } = onBus();
    const page = devicePage(machine, gpu0);
    bus.write32(page, 1023, -1);
    expect(bus.read32(page, 1023)).toBe(0xffffffff);
    expect(pages.read32(page, 1023)).toBe(0xffffffff);
  });

  it('shares contents with its copy until one is written', () => {
    const { machine, pages, bus } = onBus();
    const from = ramPage(machine, 5);
    const to = devicePage(machine, gpu0);
    bus.copyPage(to, from);
    expect(pages.frame[to]).toBe(pages.frame[from]);
    bus.write32(to, 0, 6);
    expect([pages.read32(from, 0), pages.read32(to, 0)]).toEqual([5, 6]);
  });

  it('is cleared', () => {
    const { machine, pages, bus } = onBus();
    const page = ramPage(machine, 5);
    bus.clearPage(page);
    expect(pages.read32(page, 0)).toBe(0);
  });
});

it('the zero page is never written', () => {
  const { machine, bus, pages } = onBus();
  const from = ramPage(machine, 5);
  expect(codeOf(() => bus.write32(NO_PAGE, 0, 1))).toBe('invariant');
  expect(codeOf(() => bus.copyPage(NO_PAGE, from))).toBe('invariant');
  expect(codeOf(() => bus.clearPage(NO_PAGE))).toBe('invariant');
  expect(pages.read32(NO_PAGE, 0)).toBe(0);
  const to = ramPage(machine, 5);
  bus.copyPage(to, NO_PAGE);
  expect(pages.read32(to, 0)).toBe(0);
});
