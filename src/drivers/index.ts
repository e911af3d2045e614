/** The drivers that come with the package, and the program language with their operations. */
import { Language } from '../program/language.ts';
import type { DriverFactory } from '../program/types.ts';
import { dmirrorFactory } from './dmirror/index.ts';
import { kvmUvmemFactory } from './kvm-uvmem/index.ts';
import { nouveauFactory } from './nouveau/index.ts';
import { pgmaplabFactory } from './pgmaplab/index.ts';

export const DRIVERS: readonly DriverFactory[] = [
  dmirrorFactory,
  pgmaplabFactory,
  nouveauFactory,
  kvmUvmemFactory,
];

/** Programs get the machine of the recordings unless they describe their own. */
export const LANGUAGE: Language = new Language({
  drivers: DRIVERS,
  defaultDevices: [
    'dmirror private',
    'dmirror private',
    'dmirror coherent',
    'dmirror coherent',
    'pgmaplab',
  ],
});
