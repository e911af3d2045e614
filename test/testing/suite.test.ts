// Every driver here shares the behaviours of the suite.

import { describe, test } from 'vitest';
import { driverSuite } from '../../src/testing/index.ts';
import { SPECS } from './drivers.ts';

describe.each(SPECS)('$name', (spec) => {
  for (const one of driverSuite(spec)) {
    test.skipIf(one.skip !== undefined)(one.name, one.run);
  }
});
