import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";
import { titlesIn } from "../support/titles.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = readFileSync(join(root, "docs/security/bad-input.md"), "utf8");

interface Row {
  input: string;
  answer: string;
  file: string;
  name: string;
}

const lines = page.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| Input |"));
const rows = lines
  .filter((line) => !/^\| Threat \|/.test(line))
  .map((line): Row => {
    const [, input = "", answer = "", test = ""] = line.split(" | ").join("|").split("|");
    const [, file = "", name = ""] = /^`([^`]+)` › (.+?)\s*$/.exec(test.trim()) ?? [];
    return { input: input.trim(), answer: answer.trim(), file, name };
  });

/** The titles of the tests of a file, with the rows of their tables. */
const titles = new Map<string, string[]>();
function titlesOf(file: string): string[] {
  const path = join(root, file);
  const found = titles.get(file) ?? (existsSync(path) ? titlesIn(readFileSync(path, "utf8")) : []);
  titles.set(file, found);
  return found;
}

describe("the page on bad input", () => {
  it("has a line for every surface and threat", () => {
    expect(rows.length).toBeGreaterThan(110);
    for (const { input, answer } of rows) expect([input, answer]).not.toContain("");
  });

  it.each(rows)("$input: names an existing test", ({ file, name }) => {
    expect(file).toMatch(/\.spec\.ts$|conformance\.ts$/);
    expect(name).not.toBe("");
    expect(titlesOf(file).filter((title) => title.includes(name))).not.toEqual([]);
  });
});

describe("the names of tests, read from their source,", () => {
  const source = [
    '// it("in a comment", () => {});',
    'const rows = [["a row of a constant", /\\("\\//]];',
    'describe("a group", () => {',
    '  it("one test, " + "in two texts", () => expect("asserted").toBe("it(\\"quoted\\")"));',
    '  it.each<[string, () => Promise<void>]>([["a row", async () => undefined]])("of %s", async () => {});',
    "  test.each(rows)('by rows', () => {});",
    "});",
  ].join("\n");

  it("are its titles and the rows of its tables, and no other text", () => {
    expect(titlesIn(source)).toEqual([
      "a group",
      "one test, in two texts",
      "of %s",
      "a row",
      "by rows",
      "a row of a constant",
    ]);
  });

  it("are missing without the test", () => {
    const renamed = source.replace("one test, ", "another test, ");
    expect(titlesIn(renamed).join()).not.toContain("one test");
  });
});
