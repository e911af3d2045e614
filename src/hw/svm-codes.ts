/**
 * Numbers of the calls between an ultravisor and a hypervisor, and what they return.
 *
 * Reference: arch/powerpc/include/asm/hvcall.h and ultravisor-api.h of Linux 6.1, and
 * Documentation/powerpc/ultravisor.rst. An ultracall returns the same numbers as a hypercall, under
 * names that begin with U.
 */

// Hypercalls of the ultravisor.
export const H_SVM_PAGE_IN = 0xef00;
export const H_SVM_PAGE_OUT = 0xef04;
export const H_SVM_INIT_START = 0xef08;
export const H_SVM_INIT_DONE = 0xef0c;
export const H_SVM_INIT_ABORT = 0xef14;

/** Of H_SVM_PAGE_IN: the page is to be seen by both sides. */
export const H_PAGE_IN_SHARED = 1;

// Ultracalls.
export const UV_WRITE_PATE = 0xf104;
export const UV_ESM = 0xf110;
export const UV_RETURN = 0xf11c;
export const UV_REGISTER_MEM_SLOT = 0xf120;
export const UV_UNREGISTER_MEM_SLOT = 0xf124;
export const UV_PAGE_IN = 0xf128;
export const UV_PAGE_OUT = 0xf12c;
export const UV_SHARE_PAGE = 0xf130;
export const UV_UNSHARE_PAGE = 0xf134;
export const UV_PAGE_INVAL = 0xf138;
export const UV_SVM_TERMINATE = 0xf13c;
export const UV_UNSHARE_ALL_PAGES = 0xf140;

// What hypercalls return.
export const H_SUCCESS = 0;
export const H_BUSY = 1;
export const H_FUNCTION = -2;
export const H_PARAMETER = -4;
export const H_AUTHORITY = -10;
export const H_PERMISSION = -11;
export const H_P2 = -55;
export const H_P3 = -56;
export const H_P4 = -57;
export const H_P5 = -58;
export const H_UNSUPPORTED = -67;
export const H_STATE = -75;

// What ultracalls return.
export const U_SUCCESS: number = H_SUCCESS;
export const U_BUSY: number = H_BUSY;
export const U_FUNCTION: number = H_FUNCTION;
export const U_PARAMETER: number = H_PARAMETER;
/** An integrity check failed. */
export const U_PERMISSION: number = H_PERMISSION;
export const U_P2: number = H_P2;
export const U_P3: number = H_P3;
export const U_P4: number = H_P4;
export const U_P5: number = H_P5;

const CALL_NAMES: ReadonlyMap<number, string> = new Map([
  [H_SVM_PAGE_IN, 'H_SVM_PAGE_IN'],
  [H_SVM_PAGE_OUT, 'H_SVM_PAGE_OUT'],
  [H_SVM_INIT_START, 'H_SVM_INIT_START'],
  [H_SVM_INIT_DONE, 'H_SVM_INIT_DONE'],
  [H_SVM_INIT_ABORT, 'H_SVM_INIT_ABORT'],
  [UV_WRITE_PATE, 'UV_WRITE_PATE'],
  [UV_ESM, 'UV_ESM'],
  [UV_RETURN, 'UV_RETURN'],
  [UV_REGISTER_MEM_SLOT, 'UV_REGISTER_MEM_SLOT'],
  [UV_UNREGISTER_MEM_SLOT, 'UV_UNREGISTER_MEM_SLOT'],
  [UV_PAGE_IN, 'UV_PAGE_IN'],
  [UV_PAGE_OUT, 'UV_PAGE_OUT'],
  [UV_SHARE_PAGE, 'UV_SHARE_PAGE'],
  [UV_UNSHARE_PAGE, 'UV_UNSHARE_PAGE'],
  [UV_UNSHARE_ALL_PAGES, 'UV_UNSHARE_ALL_PAGES'],
  [UV_PAGE_INVAL, 'UV_PAGE_INVAL'],
  [UV_SVM_TERMINATE, 'UV_SVM_TERMINATE'],
]);

const RETURN_NAMES: ReadonlyMap<number, string> = new Map([
  [H_SUCCESS, 'SUCCESS'],
  [H_BUSY, 'BUSY'],
  [H_FUNCTION, 'FUNCTION'],
  [H_PARAMETER, 'PARAMETER'],
  [H_AUTHORITY, 'AUTHORITY'],
  [H_PERMISSION, 'PERMISSION'],
  [H_P2, 'P2'],
  [H_P3, 'P3'],
  [H_P4, 'P4'],
  [H_P5, 'P5'],
  [H_UNSUPPORTED, 'UNSUPPORTED'],
  [H_STATE, 'STATE'],
]);

/** The name of a hypercall or an ultracall: `H_SVM_PAGE_IN`. */
export function svmCallName(call: number): string {
  return CALL_NAMES.get(call) ?? `call 0x${call.toString(16)}`;
}

/** What a hypercall returned: `hcallResultName(-4)` is `H_PARAMETER`. */
export function hcallResultName(result: number): string {
  return `H_${RETURN_NAMES.get(result) ?? result}`;
}

/** What an ultracall returned: `ucallResultName(-4)` is `U_PARAMETER`. */
export function ucallResultName(result: number): string {
  return `U_${RETURN_NAMES.get(result) ?? result}`;
}
