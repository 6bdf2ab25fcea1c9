import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";

const folder = resolve(import.meta.dirname, "..");
const page = readFileSync(join(folder, "README.md"), "utf8");
const patterns = [...page.matchAll(/`([a-z0-9*/-]+\.spec\.ts)`/g)].map(([, pattern]) => pattern as string);
const found = (pattern: string) => globSync(pattern, { cwd: folder });

describe("test/README.md", () => {
  it("names every file of tests", () => {
    const named = new Set(patterns.flatMap(found));
    expect(found("**/*.spec.ts").filter((file) => !named.has(file))).toEqual([]);
  });

  it("names no file that is gone", () => {
    expect(patterns.filter((pattern) => found(pattern).length === 0)).toEqual([]);
    expect(patterns.length).toBeGreaterThan(100);
  });
});

describe("npm run test:plans", () => {
  it("runs every file with large tables, and is not read as options", () => {
    const { scripts } = JSON.parse(readFileSync(join(folder, "../package.json"), "utf8"));
    const [, ...words] = (scripts["test:plans"] as string).split(" -- ")[1]?.split(" ") ?? [];
    expect(words.filter((word) => word.startsWith("-"))).toEqual([]);
    const large = found("**/*.spec.ts").filter((file) =>
      /^import .*support\/plans\.ts"/m.test(readFileSync(join(folder, file), "utf8")),
    );
    expect(large.length).toBeGreaterThan(2);
    expect(large.filter((file) => !words.some((word) => file.includes(word)))).toEqual([]);
  });
});
