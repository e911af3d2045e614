/** Page streams as files: packed with gzip where the name ends with .gz, and whole or not there at all. */
import { gzipSync } from 'node:zlib';
import { OutputFile } from './output-file.ts';

/** Pieces are packed when so much has come: each becomes a member of the gzip file, as gzip allows. */
const PACK_BYTES = 8 * 1024 * 1024;

export class PageStreamFile {
  /** Bytes written, after compression. */
  bytes = 0;
  readonly #file: OutputFile;
  readonly #packs: boolean;
  #held: Uint8Array[] = [];
  #heldBytes = 0;

  /** @throws InputError where nothing can be written there */
  constructor(path: string) {
    this.#file = new OutputFile(path);
    this.#packs = path.endsWith('.gz');
  }

  write(bytes: Uint8Array): void {
    if (!this.#packs) {
      this.#write(bytes);
      return;
    }
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
    if (this.#heldBytes >= PACK_BYTES) this.#pack();
  }

  /** Everything was written: the file takes its place. */
  commit(): void {
    if (this.#heldBytes > 0) this.#pack();
    this.#file.commit();
  }

  /** Leaves nothing behind; does nothing after `commit`. */
  abandon(): void {
    this.#file.abandon();
  }

  #pack(): void {
    this.#write(gzipSync(Buffer.concat(this.#held), { level: 9 }));
    this.#held = [];
    this.#heldBytes = 0;
  }

  #write(bytes: Uint8Array): void {
    this.#file.write(bytes);
    this.bytes += bytes.length;
  }
}
