/** Node runs the sources by stripping their types; jest does the same, so there is one compiler less to trust. */
export default {
  testEnvironment: "node",
  testMatch: ["<rootDir>/test/**/*.spec.ts"],
  // What needs servers that are not npm packages has a run of its own: npm run test:cluster.
  testPathIgnorePatterns: ["/node_modules/", "<rootDir>/test/cluster/"],
  extensionsToTreatAsEsm: [".ts"],
  transform: { "\\.ts$": "<rootDir>/test/support/strip-types.js" },
  coverageProvider: "v8",
  collectCoverageFrom: ["{services,mixins,providers,contracts,lib,platform}/**/*.ts"],
  globalSetup: "<rootDir>/test/support/global-setup.ts",
  globalTeardown: "<rootDir>/test/support/global-teardown.ts",
  // One more than the cores of a small machine: much of a test is waiting for a server.
  maxWorkers: 3,
  testTimeout: 20_000,
};
