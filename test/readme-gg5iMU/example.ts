import { Dmirror, Machine, MiB } from 'file:///work/main/src/index.ts';

const machine = new Machine({ era: 'v6.1', ramBytes: 64 * MiB });
const device = machine.attach(new Dmirror({ type: 'private' }));
const proc = machine.createProcess();
const file = device.open(proc);
const buf = proc.mmap({ pages: 8 });

machine.events.on('owner_change', (e) => console.log(e.to === device ? 'to the device' : e.to));
proc.store32(buf, 42); // demand-zero fault, then a store
file.migrateToDev(buf, 8); // migrate_vma: RAM -> device
console.log(machine.ownerOf(proc, buf) === device); // true
console.log(proc.load32(buf)); // CPU fault -> migrateToRam -> 42
console.log(machine.verify()); // []: every count is right
