import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";

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

/** What a source says, with the quotation marks of its strings as they read. */
const sources = new Map<string, string>();
function sourceOf(file: string): string {
  const path = join(root, file);
  const source = sources.get(file) ?? (existsSync(path) ? readFileSync(path, "utf8") : "");
  sources.set(file, source);
  return source;
}

describe("the page on bad input", () => {
  it("has a line for every surface and threat", () => {
    expect(rows.length).toBeGreaterThan(110);
    for (const { input, answer } of rows) expect([input, answer]).not.toContain("");
  });

  it.each(rows)("$input: its test is there", ({ file, name }) => {
    expect(file).toMatch(/\.(?:spec|contract)\.ts$|contract\.ts$/);
    expect(sourceOf(file)).toContain(name);
  });
});
