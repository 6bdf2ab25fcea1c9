const alone = [
  ...["launcher", "commands", "repl", "readme", "client-package"].map(
    (name) => `<rootDir>/test/e2e/${name}.spec.ts`,
  ),
  ...["<rootDir>/test/packages/", "<rootDir>/test/tools/"],
];

/** Node runs the sources by stripping their types; jest does the same, so there is one compiler less to trust. */
export default {
  testEnvironment: "<rootDir>/test/support/environment.js",
  testMatch: ["<rootDir>/test/**/*.spec.ts"],
  // Suites that need servers from outside npm, or that kill processes for half a minute, have runs of their own: npm
  // run test:cluster, npm run test:faults. Files that start many processes of their own (npm start, the console, the
  // commands, programs of the documents, npm pack), and the tests of the tests' own tools, run alone: npm run test:timed.
  testPathIgnorePatterns: [
    ...["/node_modules/", "<rootDir>/test/cluster/", "<rootDir>/test/faults/"],
    ...(process.env.TIMED ? [] : alone),
  ],
  extensionsToTreatAsEsm: [".ts"],
  transform: { "\\.ts$": "<rootDir>/test/support/strip-types.js" },
  coverageProvider: "v8",
  collectCoverageFrom: ["{services,mixins,packages,providers,contracts,lib,platform}/**/*.ts"],
  globalSetup: "<rootDir>/test/support/global-setup.ts",
  globalTeardown: "<rootDir>/test/support/global-teardown.ts",
  testSequencer: "<rootDir>/test/support/sequencer.js",
  // Two more than the cores of a small machine: much of a test is waiting for a server.
  maxWorkers: 4,
  // A worker without open handles needs more than jest's default of half a second to exit on a busy machine.
  workerGracefulExitTimeout: 30_000,
  // Beyond the patience of `eventually`, so that a failing test says what it waited for.
  testTimeout: 180_000,
};
