/** kvm-uvmem: secure guests of KVM on POWER, under an ultravisor. */
export { KVM_UVMEM_DEFECTS, type KvmUvmemDefect } from './defects.ts';
export {
  KvmUvmem,
  type KvmUvmemOptions,
  SECURE_BYTES_DEFAULT,
  type UvmemPage,
} from './device.ts';
export type { MemoryRegion } from './ioctls.ts';
export { kvmUvmemFactory } from './operations.ts';
export {
  type HcallSource,
  KvmVm,
  type KvmVmOptions,
  type VmState,
} from './vm.ts';
