import { defineConfig, type ViteUserConfig } from 'vitest/config';

const config: ViteUserConfig = defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // A process each keeps tests apart; two at a time fit the smallest machine we build on.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
  },
});

export default config;
