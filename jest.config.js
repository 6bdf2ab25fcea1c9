/** Node runs the sources by stripping their types; jest does the same, so there is one compiler less to trust. */
export default {
  testEnvironment: "node",
  testMatch: ["<rootDir>/test/**/*.spec.ts"],
  extensionsToTreatAsEsm: [".ts"],
  transform: { "\\.ts$": "<rootDir>/test/support/strip-types.js" },
  coverageProvider: "v8",
  collectCoverageFrom: ["{services,mixins,providers,contracts,lib,platform}/**/*.ts"],
  globalSetup: "<rootDir>/test/support/global-setup.ts",
  globalTeardown: "<rootDir>/test/support/global-teardown.ts",
  maxWorkers: 2,
  testTimeout: 20_000,
};
