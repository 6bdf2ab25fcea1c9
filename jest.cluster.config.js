import base from "./jest.config.js";

/** The adapters on real servers, and the platform's scenarios on a cluster of processes: npm run test:cluster. */
export default {
  ...base,
  testMatch: [
    "<rootDir>/test/cluster/**/*.spec.ts",
    "<rootDir>/test/e2e/scenario-[1-8].spec.ts",
    "<rootDir>/test/e2e/trace.spec.ts",
  ],
  testPathIgnorePatterns: ["/node_modules/"],
  globalSetup: "<rootDir>/test/support/cluster-setup.ts",
  maxWorkers: 2,
};
