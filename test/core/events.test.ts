import { filter, map, take } from 'rxjs';
import { beforeEach, describe, expect, expectTypeOf, it } from 'vitest';
import { EventBus } from '../../src/core/events/bus.ts';
import { eventStream } from '../../src/core/events/stream.ts';
import type {
  CpuFaultResult,
  MigrateCause,
  MigrateInfo,
  PageHome,
  SimEvent,
  SimEventKind,
  SimEventOf,
} from '../../src/core/events/types.ts';
import type { NotifierRange } from '../../src/core/hmm/notifier.ts';
import { Machine } from '../../src/core/machine.ts';
import type { Mm } from '../../src/core/mm/mm.ts';
import type { Owner } from '../../src/core/pagemap/pagemap.ts';
import { Delay, type Task } from '../../src/core/sched/task.ts';
import { PAGE_SIZE } from '../../src/core/units.ts';
import { SmallDevice } from './device.ts';

const GPU: Owner = { name: 'gpu' };

/** `id<parent kind` and the phase, which together tell the tree. */
function tree(events: readonly SimEvent[]): string[] {
  return events.map((event) => {
    const phase = 'phase' in event ? ` ${event.phase}` : '';
    return `${event.id}<${event.parent ?? '-'} ${event.kind}${phase}`;
  });
}

describe('EventBus', () => {
  let machine: Machine;
  let bus: EventBus;
  let mm: Mm;
  let heard: SimEvent[];
  const hear = (event: SimEvent): void => {
    heard.push(event);
  };

  beforeEach(() => {
    machine = new Machine();
    bus = machine.events;
    mm = machine.createProcess().mm;
    heard = [];
  });

  function rangeOf(owner: Owner | null): NotifierRange {
    return { mm, start: 0, end: PAGE_SIZE, event: 'migrate', owner };
  }

  function migration(fields: Partial<MigrateInfo> = {}): MigrateInfo {
    return { mm, start: 0, end: 4 * PAGE_SIZE, owner: GPU, cause: 'driver', ...fields };
  }

  describe('listeners', () => {
    it('get the records of the kind they listen to, typed', () => {
      bus.on('migrate', (event) => {
        expectTypeOf(event).toEqualTypeOf<SimEventOf<'migrate'>>();
        expectTypeOf(event.cause).toEqualTypeOf<MigrateCause>();
        // @ts-expect-error: only the end knows how many moved.
        event.migrated;
        if (event.phase === 'end') expectTypeOf(event.migrated).toEqualTypeOf<number>();
      });
      bus.on('cpu_fault', (event) => {
        if (event.phase === 'end') expectTypeOf(event.result).toEqualTypeOf<CpuFaultResult>();
      });
      bus.on('owner_change', (event) => expectTypeOf(event.from).toEqualTypeOf<PageHome>());
      bus.on('*', (event) => expectTypeOf(event).toEqualTypeOf<SimEvent>());
      // @ts-expect-error: there is no such kind.
      bus.on('migration', () => {});
      expectTypeOf<SimEventOf<'page_free'>['kind']>().toEqualTypeOf<'page_free'>();

      const kinds: SimEventKind[] = [];
      const other = new EventBus(machine.scheduler);
      other.on('page_free', ({ kind }) => kinds.push(kind));
      other.pageFree(3, null);
      other.mappingChange(mm, 'mmap', 0, PAGE_SIZE);
      expect(kinds).toEqual(['page_free']);
    });

    it('to everything hear a record before those to its kind', () => {
      const order: string[] = [];
      bus.on('page_free', () => order.push('page_free'));
      bus.on('*', () => order.push('*'));
      bus.pageFree(3, null);
      expect(order).toEqual(['*', 'page_free']);
    });
  });

  describe('listening', () => {
    it('follows the listeners as they come and go', () => {
      expect(bus.listening).toBe(false);
      bus.on('*', hear);
      bus.addListener('migrate', hear);
      expect(bus.listening).toBe(true);
      bus.off('*', hear);
      expect(bus.listening).toBe(true);
      bus.removeListener('migrate', hear);
      expect(bus.listening).toBe(false);
      bus.on('page_free', hear);
      bus.off('page_free', () => {});
      expect(bus.listening).toBe(true);
      bus.removeAllListeners('page_free');
      expect(bus.listening).toBe(false);
      bus.on('page_free', hear).on('migrate', hear);
      bus.removeAllListeners();
      expect(bus.listening).toBe(false);
    });

    it('ends with the one record that was asked for', () => {
      bus.once('page_free', hear);
      expect(bus.listening).toBe(true);
      bus.mappingChange(mm, 'mmap', 0, PAGE_SIZE);
      expect(bus.listening).toBe(true);
      bus.pageFree(3, null);
      expect(bus.listening).toBe(false);
      expect(heard).toHaveLength(1);
    });
  });

  describe('records', () => {
    it('are numbered from 1 and say when, by whom and in what', () => {
      bus.on('*', hear);
      function* work(): Task<void> {
        bus.cpuFaultBegin(mm, 5, true);
        yield new Delay(40);
        bus.ownerChange(mm, 0, 9, GPU, 'system');
        bus.cpuFaultEnd(mm, 5, 'ok');
      }
      machine.spawn('cpu 0', work());
      machine.runAll();
      const pid = mm.pid;
      const thread = 'cpu 0';
      const fault = { kind: 'cpu_fault', pid, va: 5, access: 'write', thread, parent: null };
      expect(heard).toEqual([
        { ...fault, id: 1, timeNs: 0, phase: 'begin' },
        {
          id: 2,
          timeNs: 40,
          thread,
          parent: 1,
          kind: 'owner_change',
          pid,
          va: 0,
          page: 9,
          from: GPU,
          to: 'system',
        },
        { ...fault, id: 3, timeNs: 40, phase: 'end', begin: 1, result: 'ok' },
      ]);
      expect((heard[1] as SimEventOf<'owner_change'>).from).toBe(GPU);
    });

    it('of a device fault', () => {
      bus.on('*', hear);
      bus.deviceFaultBegin(mm, 0, PAGE_SIZE, 'gpu0', 'read');
      bus.deviceFaultEnd(mm, 0, PAGE_SIZE, -14);
      const fields = { kind: 'device_fault', start: 0, end: PAGE_SIZE, device: 'gpu0' };
      expect(heard).toMatchObject([
        { ...fields, phase: 'begin', access: 'read' },
        { ...fields, phase: 'end', access: 'read', begin: 1, result: -14 },
      ]);
    });

    it('of a migration, with where from and where to once that is known', () => {
      bus.on('migrate', hear);
      const info = migration();
      bus.migrateBegin(info);
      info.from = 'system';
      info.to = GPU;
      info.valid = 4;
      info.writable = 2;
      info.given = 3;
      bus.migrateEnd(info, 3, 2);
      const fields = { pid: mm.pid, pages: 4, cause: 'driver', owner: GPU };
      expect(heard).toMatchObject([
        { ...fields, phase: 'begin', from: undefined, to: undefined },
        {
          ...fields,
          phase: 'end',
          begin: 1,
          from: 'system',
          to: GPU,
          selected: 3,
          migrated: 2,
          failed: 1,
          valid: 4,
          writable: 2,
          given: 3,
        },
      ]);
    });

    it('of a migration of device pages whoever maps them', () => {
      bus.on('migrate', hear);
      bus.migrateBegin(migration({ mm: null, start: 0, end: 0, pages: 512, cause: 'evict' }));
      expect(heard).toMatchObject([{ pid: null, pages: 512, cause: 'evict' }]);
    });

    it('of an invalidation and of those who were told', () => {
      bus.on('*', hear);
      const range = rangeOf(GPU);
      bus.invalidateBegin(range);
      bus.notified(range, 'gpu0', true);
      bus.notified(range, 'gpu1', false);
      bus.invalidateEnd(range);
      const fields = { pid: mm.pid, event: 'migrate', owner: GPU };
      expect(heard).toMatchObject([
        { ...fields, kind: 'invalidate', phase: 'begin' },
        { ...fields, kind: 'invalidate_call', parent: 1, notifier: 'gpu0', ignored: true },
        { ...fields, kind: 'invalidate_call', parent: 1, notifier: 'gpu1', ignored: false },
        { ...fields, kind: 'invalidate', phase: 'end', begin: 1, parent: null },
      ]);
    });

    it('of pages that were freed', () => {
      const device = new SmallDevice(machine, 'gpu0');
      bus.on('*', hear);
      bus.pageFree(7, null);
      bus.pageFree(device.pagemap.firstPage, device.pagemap);
      expect(heard).toMatchObject([
        { page: 7, pagemap: null, owner: 'system' },
        { page: device.pagemap.firstPage, pagemap: 'gpu0', owner: device },
      ]);
    });
  });

  describe('spans', () => {
    it('nest, each thread on its own', () => {
      bus.on('*', hear);
      function* fault(va: number, ns: number): Task<void> {
        const info = migration();
        bus.cpuFaultBegin(mm, va, false);
        bus.migrateBegin(info);
        yield new Delay(ns);
        bus.migratePhase(info, 'collect', 'begin');
        bus.migratePhase(info, 'collect', 'end');
        bus.migrateEnd(info, 1, 1);
        bus.cpuFaultEnd(mm, va, 'ok');
      }
      // Both touch the same byte.
      machine.spawn('a', fault(8, 20));
      machine.spawn('b', fault(8, 10));
      machine.runAll();
      expect(tree(heard)).toEqual([
        '1<- cpu_fault begin',
        '2<1 migrate begin',
        '3<- cpu_fault begin',
        '4<3 migrate begin',
        '5<4 migrate_phase begin',
        '6<4 migrate_phase end',
        '7<3 migrate end',
        '8<- cpu_fault end',
        '9<2 migrate_phase begin',
        '10<2 migrate_phase end',
        '11<1 migrate end',
        '12<- cpu_fault end',
      ]);
      const ends = heard.filter((event) => 'begin' in event);
      expect(ends.map(({ id, begin }) => [begin, id])).toEqual([
        [5, 6],
        [4, 7],
        [3, 8],
        [9, 10],
        [2, 11],
        [1, 12],
      ]);
    });

    it('may end in another order than they began, and on another thread', () => {
      bus.on('*', hear);
      const [first, second] = [migration(), migration()];
      bus.migrateBegin(first);
      bus.migrateBegin(second);
      bus.migrateEnd(first, 0, 0);
      bus.pageFree(1, null);
      function* finish(): Task<void> {
        yield new Delay(1);
        bus.migrateEnd(second, 0, 0);
      }
      machine.spawn('worker', finish());
      machine.runAll();
      bus.pageFree(2, null);
      expect(tree(heard)).toEqual([
        '1<- migrate begin',
        '2<1 migrate begin',
        '3<- migrate end',
        '4<2 page_free',
        '5<1 migrate end',
        '6<- page_free',
      ]);
      expect(heard[4]).toMatchObject({ begin: 2, thread: 'worker' });
    });

    it('that nobody heard begin have no end', () => {
      const range = rangeOf(null);
      bus.on('*', hear);
      bus.invalidateEnd(range);
      bus.cpuFaultEnd(mm, 0, 'ok');
      bus.migratePhase(migration(), 'pages', 'end');
      expect(heard).toEqual([]);
      bus.invalidateBegin(range);
      bus.off('*', hear);
      bus.on('*', hear);
      bus.pageFree(1, null);
      bus.invalidateEnd(range);
      expect(tree(heard)).toEqual(['1<- invalidate begin', '2<- page_free']);
    });

    it('of a task that failed are left behind', () => {
      bus.on('*', hear);
      function* fail(ns: number): Task<void> {
        bus.cpuFaultBegin(mm, 0, false);
        if (ns > 0) yield new Delay(ns);
        throw new RangeError('in the fault');
      }
      expect(() => machine.run(fail(0))).toThrow(RangeError);
      expect(() => machine.run(fail(1))).toThrow(RangeError);
      bus.pageFree(1, null);
      expect(heard.at(-1)).toMatchObject({ parent: null });
    });
  });

  describe('eventStream', () => {
    it('listens from subscribe to unsubscribe', () => {
      const stream = eventStream(bus);
      expect(bus.listening).toBe(false);
      const subscription = stream.subscribe(hear);
      expect(bus.listening).toBe(true);
      bus.pageFree(1, null);
      subscription.unsubscribe();
      expect(bus.listening).toBe(false);
      bus.pageFree(2, null);
      expect(heard).toMatchObject([{ kind: 'page_free', page: 1 }]);
    });

    it('serves each subscriber, and stops for one that has enough', () => {
      const stream = eventStream(bus);
      const pages: number[] = [];
      const freed = stream.pipe(
        filter((event) => event.kind === 'page_free'),
        map(({ page }) => page),
      );
      freed.pipe(take(2)).subscribe((page) => pages.push(page));
      const all = stream.subscribe(hear);
      for (const page of [4, 5, 6]) bus.pageFree(page, null);
      expect(pages).toEqual([4, 5]);
      expect(heard).toHaveLength(3);
      expect(bus.listening).toBe(true);
      all.unsubscribe();
      expect(bus.listening).toBe(false);
    });
  });

  it('hears a whole machine: every end has its beginning, every parent is an open span', () => {
    const device = new SmallDevice(machine, 'gpu0');
    const proc = machine.createProcess();
    bus.on('*', hear);
    const va = proc.mmap({ pages: 4 });
    proc.store32(va, 42);
    expect(device.take(proc, va, 4)).toBe(4);
    expect(machine.ownerOf(proc, va)).toBe(device);
    expect(proc.load32(va)).toBe(42);
    proc.exit();
    expect(heard.map(({ id }) => id)).toEqual(heard.map((_event, index) => index + 1));
    const open = new Map<number, SimEvent>();
    for (const event of heard) {
      if ('begin' in event) {
        expect(open.get(event.begin)).toMatchObject({ kind: event.kind, parent: event.parent });
        open.delete(event.begin);
      }
      if (event.parent !== null) expect(open.has(event.parent)).toBe(true);
      if ('phase' in event && event.phase === 'begin') open.set(event.id, event);
    }
    expect(open.size).toBe(0);
    const home = heard.filter((event) => event.kind === 'owner_change' && event.va === va);
    expect(home).toMatchObject([
      { from: null, to: 'system' },
      { from: 'system', to: device },
      { from: device, to: 'system' },
      { from: 'system', to: null },
    ]);
  });
});
