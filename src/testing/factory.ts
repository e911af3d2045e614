/** Program operations for a driver that has a spec, so that its author need not write any. */
import { errnoName } from '../core/errno.ts';
import { SimError } from '../core/errors.ts';
import type { Task } from '../core/sched/task.ts';
import { bufferArg, offsetArg, pagesArg, valueArg } from '../program/args.ts';
import {
  type DeviceDriver,
  type DriverFactory,
  type Operation,
  operation,
  type ProgramContext,
} from '../program/types.ts';
import type { Answer, DriverSpec, DriverUse } from './spec.ts';

/**
 * A factory with an operation for each call of the spec: NAME_to_device, NAME_to_system,
 * NAME_read, NAME_write. One device fits in a machine.
 */
export function factoryOf<D extends DeviceDriver>(spec: DriverSpec<D>): DriverFactory<D> {
  const { name, toSystem, read, write } = spec;
  if (!/^[a-z][a-z0-9_]*$/.test(name)) {
    throw new SimError('bad-argument', `"${name}" cannot begin the name of an operation`);
  }
  const made: WeakSet<DeviceDriver> = new WeakSet();
  const use = (ctx: ProgramContext): DriverUse<D> => useIn(ctx, made);
  const operations: Operation[] = [
    moveOperation(`${name}_to_device`, 'device', use, spec.toDevice.bind(spec)),
  ];
  if (toSystem !== undefined) {
    operations.push(moveOperation(`${name}_to_system`, 'RAM', use, toSystem.bind(spec)));
  }
  if (read !== undefined) operations.push(readOperation(name, use, read.bind(spec)));
  if (write !== undefined) operations.push(writeOperation(name, use, write.bind(spec)));
  return {
    name,
    summary: `the driver ${name}`,
    options: [],
    max: 1,
    create: () => {
      const driver = spec.create();
      made.add(driver);
      return driver;
    },
    operations,
  };
}

type UseIn<D extends DeviceDriver> = (ctx: ProgramContext) => DriverUse<D>;

/** The device that this factory made, and what the current process has open of it. */
function useIn<D extends DeviceDriver>(
  { machine, current }: ProgramContext,
  made: WeakSet<DeviceDriver>,
): DriverUse<D> {
  const { process: proc, files } = current;
  for (const [driver, file] of files) {
    if (!made.has(driver)) continue;
    return { machine, driver, process: proc, file } as unknown as DriverUse<D>;
  }
  throw new SimError('bad-argument', `process ${current.number} has no such device open`);
}

function moveOperation<D extends DeviceDriver>(
  name: string,
  where: string,
  use: UseIn<D>,
  call: DriverSpec<D>['toDevice'],
): Operation {
  return operation({
    name,
    summary: `moves pages to ${where === 'RAM' ? 'RAM' : 'the device'}`,
    args: [bufferArg(), offsetArg(), pagesArg()],
    *run(ctx, [buffer, offset, pages]) {
      const ret = yield* finish(call(use(ctx), ctx.address(buffer, offset), pages));
      return ret < 0 ? { ret: errnoName(ret) } : { ret: '0', pages: ret };
    },
  });
}

function readOperation<D extends DeviceDriver>(
  name: string,
  use: UseIn<D>,
  read: NonNullable<DriverSpec<D>['read']>,
): Operation {
  return operation({
    name: `${name}_read`,
    summary: "the device reads each page's value",
    args: [bufferArg(), offsetArg(), pagesArg()],
    *run(ctx, [buffer, offset, pages]) {
      const data: number[] = [];
      for (let i = 0; i < pages; i++) {
        const value = yield* finish(read(use(ctx), ctx.address(buffer, offset + i)));
        if (value < 0) return { ret: errnoName(value) };
        data.push(value);
      }
      return { ret: '0', data };
    },
  });
}

function writeOperation<D extends DeviceDriver>(
  name: string,
  use: UseIn<D>,
  write: NonNullable<DriverSpec<D>['write']>,
): Operation {
  return operation({
    name: `${name}_write`,
    summary: 'the device writes value + i to page i',
    args: [bufferArg(), offsetArg(), pagesArg(), valueArg()],
    *run(ctx, [buffer, offset, pages, value]) {
      for (let i = 0; i < pages; i++) {
        const va = ctx.address(buffer, offset + i);
        const ret = yield* finish(write(use(ctx), va, (value + i) >>> 0));
        if (ret < 0) return { ret: errnoName(ret) };
      }
      return { ret: '0' };
    },
  });
}

function* finish(answer: Answer<number>): Task<number> {
  return typeof answer === 'object' ? yield* answer : answer;
}
