/** Pages that somebody else holds. */
import { FIRST_VALUE } from '../stage.ts';
import type { Section } from './case.ts';

const V = FIRST_VALUE;

export const PINS: Section = {
  name: 'pins',
  cases: [
    {
      name: 'a pinned page stays in RAM',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 3);
        stage.step('a page is pinned', () => stage.probe.pin(proc, stage.at(va, 1), 1));
        stage.toDevice(proc, va, 3);
        const place = stage.placeOf(proc, stage.at(va, 1));
        stage.must(place === 'in RAM', `a pinned page is ${place}`);
        stage.mustRead(proc, va, [V, V + 1, V + 2], 'beside a pinned page');
        stage.step('the pin goes', () => stage.probe.unpin());
        stage.mustMove(proc, stage.at(va, 1), 1);
      },
    },
    {
      name: 'a pin brings a device page home',
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 2);
        stage.mustMove(proc, va, 2);
        const count = stage.step('pages are pinned', () => stage.probe.pin(proc, va, 2));
        stage.must(count === 2, `pin_user_pages takes ${count} of 2 pages that are on the device`);
        stage.mustRead(proc, va, [V, V + 1], 'of pinned pages');
        stage.step('the pin goes', () => stage.probe.unpin());
      },
    },
    {
      name: 'pages that a device has for itself stay with it',
      unfit: ({ deviceExclusive }) => (deviceExclusive ? null : 'exclusive access came with v5.14'),
      run(stage) {
        const proc = stage.process();
        const va = stage.buffer(proc, 2);
        const count = stage.step('another device takes a page for itself', () =>
          stage.probe.exclusive(proc, va, 1),
        );
        stage.must(count === 1, `make_device_exclusive_range takes ${count} pages`);
        stage.toDevice(proc, va, 2);
        const place = stage.placeOf(proc, va);
        stage.must(place === 'in RAM', `a page that is exclusive to another device is ${place}`);
        stage.mustRead(proc, va, [V, V + 1], 'after exclusive access');
      },
    },
  ],
};
