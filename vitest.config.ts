import { fileURLToPath } from 'node:url';
import { defineConfig, type ViteUserConfig } from 'vitest/config';

const door = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const config: ViteUserConfig = defineConfig({
  resolve: {
    // Examples import the package by its name; a test must get the very classes that it imports.
    alias: [
      { find: /^hmmlab$/, replacement: door('src/index.ts') },
      { find: /^hmmlab\/testing$/, replacement: door('src/testing/index.ts') },
      { find: /^hmmlab\/node$/, replacement: door('src/node/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/global-setup.ts'],
    // A process each keeps tests apart; two at a time fit the smallest machine we build on.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
  },
});

export default config;
