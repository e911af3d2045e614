// Random lives of a secure guest whose memory a device, a child and its own process work on. What
// the guest keeps to itself it gets back unchanged or not at all, and nobody else ever sees it.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERAS, type EraName } from '../../src/core/era.ts';
import { SimError } from '../../src/core/errors.ts';
import type { Process } from '../../src/core/process.ts';
import { Dmirror, type DmirrorFile } from '../../src/drivers/dmirror/index.ts';
import { MARK, UvmemLab } from './kvm-uvmem-lab.ts';

const PAGES = 6;
/** Word of a page in which the guest keeps its secrets. */
const SECRET_AT = 8;

const ACTIONS = [
  'guestWrite',
  'guestRead',
  'guestRead',
  'hostRead',
  'hostWrite',
  'dontneed',
  'remap',
  'toDevice',
  'deviceRead',
  'deviceWrite',
  'fork',
  'childRead',
  'childWrite',
  'childExit',
  'pageOut',
  'pageIn',
  'share',
  'unshare',
  'esm',
  'off',
] as const;

type Step = readonly [action: (typeof ACTIONS)[number], page: number];

class Life {
  readonly lab: UvmemLab;
  readonly file: DmirrorFile;
  readonly children: Process[] = [];
  /** What the guest wrote last, where it knows. */
  readonly secrets: Map<number, number> = new Map();
  readonly shared: Set<number> = new Set();
  #next = 0;

  constructor(era: EraName, pageSize: number) {
    this.lab = new UvmemLab({ era, pageSize, pages: PAGES, securePages: PAGES + 1 });
    const dmirror = new Dmirror({ chunkBytes: 64 * pageSize });
    this.file = this.lab.machine.attach(dmirror).open(this.lab.proc);
    this.lab.fill(0, 0);
  }

  run(steps: readonly Step[]): void {
    for (const [action, page] of steps) {
      if (!this.#go(action, page)) break;
      this.lab.check();
      expect(this.lab.hostSees()).toBe(false);
    }
    this.lab.proc.exit();
    for (const child of this.children) child.exit();
    this.lab.check();
    expect(this.lab.kvm.pagesInUse).toBe(0);
    expect(this.lab.machine.kernel.pages.ramUsed).toBe(0);
  }

  /**
   * False where the kernel never comes back. That takes a child that still has a device page which
   * the process has given up: nothing the process can do brings it home.
   */
  #go(action: Step[0], page: number): boolean {
    try {
      this[action](page);
      return true;
    } catch (error) {
      const isLivelock = error instanceof SimError && error.code === 'refault-livelock';
      if (!isLivelock || this.children.length === 0) throw error;
      return false;
    }
  }

  guestWrite(page: number): void {
    const { lab, secrets, shared } = this;
    const isSecret = lab.vm.state === 'secure' && !shared.has(page);
    const value = isSecret ? MARK + (this.#next++ % 256) : 77;
    const result = lab.vm.guestStore32(lab.gpa(page) + SECRET_AT, value);
    if (isSecret && result === 0) secrets.set(page, value);
  }

  guestRead(page: number): void {
    const { lab, secrets, shared } = this;
    const value = lab.vm.guestLoad32(lab.gpa(page) + SECRET_AT);
    if (lab.vm.state !== 'secure' || shared.has(page) || value < 0) return;
    const known = secrets.get(page);
    if (known === undefined) secrets.set(page, value);
    else expect(value).toBe(known);
  }

  hostRead(page: number): void {
    this.lab.proc.tryLoad32(this.lab.at(page));
  }

  hostWrite(page: number): void {
    this.lab.proc.tryStore32(this.lab.at(page) + 4 * page, page);
  }

  dontneed(page: number): void {
    this.lab.proc.dontneed(this.lab.at(page), this.lab.pageSize);
  }

  remap(page: number): void {
    this.lab.proc.mmap({ pages: 1, addr: this.lab.at(page) });
  }

  toDevice(page: number): void {
    this.file.migrateToDev(this.lab.at(page), 2);
  }

  deviceRead(page: number): void {
    this.file.read(this.lab.at(page), 1);
  }

  deviceWrite(page: number): void {
    this.file.write(this.lab.at(page), [page]);
  }

  fork(): void {
    if (this.children.length < 2) this.children.push(this.lab.proc.fork());
  }

  childRead(page: number): void {
    this.children[0]?.tryLoad32(this.lab.at(page));
  }

  childWrite(page: number): void {
    this.children.at(-1)?.tryStore32(this.lab.at(page), page);
  }

  childExit(): void {
    this.children.pop()?.exit();
  }

  pageOut(page: number): void {
    this.lab.vm.svmPageOut(page);
  }

  pageIn(page: number): void {
    const result = this.lab.vm.svmPageIn(page);
    // Of a shared page, this is the way back to a secure one.
    if (result === 0 && this.shared.delete(page)) this.secrets.set(page, 0);
  }

  share(page: number): void {
    if (this.lab.vm.share(page) !== 0) return;
    this.shared.add(page);
    this.secrets.delete(page);
  }

  unshare(page: number): void {
    if (this.lab.vm.unshare(page) !== 0) return;
    this.shared.delete(page);
    this.secrets.set(page, 0);
  }

  esm(): void {
    if (this.lab.vm.state === 'normal') this.lab.vm.esm();
  }

  off(page: number): void {
    // Half of the time only, lest most lives be normal ones.
    if (page % 2 === 0 || this.lab.vm.svmOff() !== 0) return;
    this.secrets.clear();
    this.shared.clear();
  }
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.tuple(fc.constantFrom(...ACTIONS), fc.integer({ min: 0, max: PAGES - 1 })),
  { minLength: 10, maxLength: 40 },
);

describe.each(ERAS.map(({ name }) => name))('a secure guest of %s', (era) => {
  it('keeps its secrets, whatever is done to its memory', () => {
    const life = (pageSize: number, wanted: readonly Step[]): void =>
      new Life(era, pageSize).run([['esm', 0], ...wanted]);
    fc.assert(
      fc.property(fc.constantFrom(4096, 16_384), steps, (pageSize, wanted) =>
        life(pageSize, wanted),
      ),
      { numRuns: 150 },
    );
  });
});
