// Programs that the tests of reports and exports record.

/** Two dmirrors, the CPU, a fork, fresh device pages, moves between labs, an eviction. */
export const HAND_OVER = `machine ram 64MiB
device dmirror private
device dmirror private
device pgmaplab
program hand-over
mmap 0 8 anon rw
cpu_write 0 0 8 100
migrate_to_dev 0 0 0 4
migrate_to_dev 1 0 4 4
migrate_to_sys 1 0 0 8
cpu_read 0 0 2
dev_read 0 0 2 4
dev_write 1 0 0 8 4
mmap 1 4 anon rw
migrate_to_dev 0 1 0 4
fork 1
@1 cpu_write 0 0 4 4
mmap 2 6 anon rw
cpu_write 2 0 3 7
lab_migrate 0 S 0 2 0 6
lab_migrate 0 P 1 2 0 6
migrate_to_dev 0 0 0 8
release 0
end
`;

/** Two GPUs of which one has a small fault buffer, and a secure guest, share a process. */
export const GUEST_AND_GPUS = `machine ram 64MiB
device nouveau vram 4MiB faults 4
device nouveau vram 2MiB
device kvm-uvmem secure 1MiB
program guest-and-gpus
mmap 0 32 anon rw
cpu_write 0 0 32 100
gpu_bind 0 0 0 16
gpu_bind 1 0 8 16
gpu_write 1 0 4 20 500
gpu_access 0 0 r0,w1,a26,p3,r17,w17,r30,r31
vm_slot 0 0 24 8 0
svm_esm
guest_write 0 4 900
gpu_read 0 0 24 2
guest_read 0 8
gpu_suspend 0
gpu_resume 0
fork 1
@1 cpu_write 0 0 8 7
gpu_remove 1
svm_off
end
`;
