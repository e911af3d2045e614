/** What a GPU is made of once it is in a machine. */
import type { Machine } from '../../core/machine.ts';
import { BusMaster } from '../../hw/bus.ts';
import { CopyEngine } from '../../hw/copy-engine.ts';
import { type DeviceTime, deviceTime } from '../../hw/device-time.ts';
import { Gpu } from '../../hw/gpu.ts';
import type { Nouveau, NouveauOptions } from './device.ts';
import { Dmem } from './dmem.ts';
import type { HomeParts } from './migrate.ts';
import { Remains } from './remains.ts';
import { type NouveauRules, rulesOf } from './rules.ts';
import { Svm } from './svm.ts';
import { Users } from './users.ts';

export class Parts {
  readonly machine: Machine;
  readonly rules: NouveauRules;
  readonly gpu: Gpu;
  readonly engine: CopyEngine;
  readonly time: DeviceTime | null;
  /** Binds and CPU faults that run. */
  readonly users: Users;
  readonly svm: Svm | null;
  readonly remains: Remains | null;
  readonly home: HomeParts;
  dmem: Dmem | null;

  constructor(device: Nouveau, machine: Machine, options: NouveauOptions) {
    const { kernel } = machine;
    this.machine = machine;
    this.rules = rulesOf(kernel.era);
    const bus = new BusMaster(kernel, device, {
      answers: (page) => device.dmem?.inVram(page) ?? false,
    });
    const { copyLatencyNs: latencyNs = 0, faultEntries = 64 } = options;
    this.time = deviceTime(kernel, device.name, 'nouveau');
    const { time } = this;
    const engineName = `${device.name} copy engine`;
    this.engine = new CopyEngine(kernel, bus, { name: engineName, latencyNs, time });
    this.gpu = new Gpu(kernel, {
      name: device.name,
      bus,
      time,
      faultEntries,
      onInterrupt: () => device.svm?.interrupt(),
    });
    this.users = new Users(machine.scheduler, device.name);
    this.svm = options.svm === false ? null : new Svm(device, kernel);
    this.remains = device.defects.has('unseen_copy_errors') ? new Remains(kernel) : null;
    const { engine, rules, remains } = this;
    this.home = { device, kernel, engine, rules, remains };
    this.dmem = options.dmem === false ? null : new Dmem(device, kernel);
  }
}
