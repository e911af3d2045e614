/** Documents as `npm run bench -- --json` prints them, but small. */
import { type BenchDocument, DOCUMENT_VERSION } from '../../bench/harness/document.ts';
import {
  type Figure,
  type FigureSpec,
  makeFigure,
  type Sampled,
} from '../../bench/harness/figure.ts';

export function figure(
  given: Partial<FigureSpec> & { readonly samples: readonly number[] } & Partial<Sampled>,
): Figure {
  const { samples, yardstick = null, ...others } = given;
  const spec: FigureSpec = {
    name: 'faults',
    unit: '/s',
    better: 'more',
    targets: [],
    note: 'pages touched',
    ...others,
  };
  return makeFigure('1', spec, { ...others, name: spec.name, samples, yardstick });
}

export function documentOf(...figures: readonly Figure[]): BenchDocument {
  return {
    version: DOCUMENT_VERSION,
    node: 'v20.19.0',
    processor: 'a processor',
    cores: 2,
    quick: false,
    figures,
  };
}
