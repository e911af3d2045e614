/**
 * Errors of the laboratory itself, as opposed to what the emulated kernel returns.
 *
 * The kernel's -errno results are return values (`errno.ts`). A `SimError` means that the caller
 * misused the library, that a driver broke a rule the kernel would crash on, or that the machine
 * can make no progress.
 */
export type SimErrorCode =
  | 'bad-argument'
  | 'unknown-era'
  | 'not-in-this-era'
  | 'nested-run'
  | 'slept-in-atomic'
  | 'deadlock'
  | 'livelock'
  | 'lock-order'
  | 'use-after-free'
  | 'expectation'
  | 'refault-livelock'
  | 'lock-misuse'
  | 'refcount'
  | 'signal'
  | 'invariant'
  | 'bad-recording'
  | 'bad-trace'
  | 'limit';

export class SimError extends Error {
  override readonly name = 'SimError';
  /** Stable; safe to branch on. */
  readonly code: SimErrorCode;
  /** The numbers behind the message. */
  readonly detail: Readonly<Record<string, unknown>>;

  constructor(code: SimErrorCode, message: string, detail: Record<string, unknown> = {}) {
    super(message);
    this.code = code;
    this.detail = detail;
  }
}

/** Throws a `SimError` with code `invariant` unless `condition` holds: a bug in the emulator or a driver. */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new SimError('invariant', message);
}
