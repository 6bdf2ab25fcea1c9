import config from "./jest.config.js";

/** The crash tests of single parts, which `npm run test:faults` runs before it starts its cluster. */
export default {
  ...config,
  testMatch: ["<rootDir>/test/faults/**/*.spec.ts"],
  testPathIgnorePatterns: ["/node_modules/"],
  maxWorkers: 2,
};
