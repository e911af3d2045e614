/** What the command line answers besides success. */
import { InputError } from '../node/read-text.ts';
import { ProgramError } from '../program/program-error.ts';

export const EXIT_OK = 0;
/** The command worked, and what it looked at is not as it should be. */
export const EXIT_DIFFERENT = 1;
/** Bad flags, files or programs: nothing was done. */
export const EXIT_USAGE = 2;
/** 128 + SIGINT. */
export const EXIT_INTERRUPTED = 130;
/** 128 + SIGTERM. */
export const EXIT_TERMINATED = 143;
/** 128 + SIGHUP. */
export const EXIT_HUNG_UP = 129;
/** 128 + SIGPIPE: nobody reads the output any more. */
export const EXIT_PIPE = 141;

/** The command was not given what it needs. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The flags, files or programs are not as they should be; the message says how. */
export function isBadInput(error: unknown): error is Error {
  return [UsageError, InputError, ProgramError].some((kind) => error instanceof kind);
}
