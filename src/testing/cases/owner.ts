/** Whose the device's memory is. */
import type { Era } from '../../core/era.ts';
import { wrongOwner } from '../diagnose.ts';
import type { Stage } from '../stage.ts';
import type { Section } from './case.ts';

function namesItself(era: Era): string | null {
  return era.migrateEvent ? null : 'migrate_vma has pgmap_owner since v5.9';
}

/** Every migration so far was by the driver's own owner. */
export function mustBeInItsName(stage: Stage): void {
  if (!stage.era.migrateEvent) return;
  for (const { owner } of stage.diagnosis.migrations) {
    if (owner === stage.owner) continue;
    const name = owner === null ? 'nobody' : `"${owner.name}", another object`;
    stage.fail(`the driver migrates in the name of ${name}: pgmap_owner must be its own`);
  }
}

export const OWNER: Section = {
  name: 'owner',
  cases: [
    {
      name: "its device pages carry the driver's owner",
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 4);
        stage.mustMove(proc, va, 4);
        for (let i = 0; i < 4; i++) {
          const { owner } = stage.pagemapAt(proc, stage.at(va, i))!;
          if (owner !== stage.owner) stage.fail(wrongOwner(owner, stage.owner));
        }
      },
    },
    {
      name: 'it migrates in its own name',
      unfit: namesItself,
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 2);
        stage.mustMove(proc, va, 2);
        stage.must(stage.diagnosis.migrations.length > 0, 'pages move without migrate_vma');
        mustBeInItsName(stage);
      },
    },
  ],
};
