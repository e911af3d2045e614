// What is said of a text that is refused.

import { expect } from 'vitest';
import { LANGUAGE } from '../../src/drivers/index.ts';
import { ProgramError, parsePrograms, parseRecording } from '../../src/program/index.ts';

/** A name, the text, and the whole message without the file's name. */
export type Case = readonly [what: string, text: string, message: string];

function refusal(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    if (error instanceof ProgramError) {
      // The parts of the error make up its message.
      expect(error.message).toBe(
        `f:${error.line}: expected ${error.expected}; found ${error.found}`,
      );
      return error.message.replace(/^f:/, '');
    }
    throw error;
  }
  return 'nothing was refused';
}

export function refusedText(text: string): string {
  return refusal(() => parsePrograms(text, { file: 'f', language: LANGUAGE }));
}

export function refusedRecording(text: string): string {
  return refusal(() => parseRecording(text, 'f', LANGUAGE));
}
