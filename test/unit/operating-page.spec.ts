import { globSync, readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";

const page = readFileSync("docs/operating.md", "utf8");
/** Made for a moment, or removed where an earlier release left it. */
const PASSING = ["postgres.half", "documents"];

/** The entries of DATA_DIR that the program names in its own files. */
function kept(): string[] {
  const files = globSync("{platform,providers/storage,sandbox}/**/*.ts");
  const names = files.flatMap((file) => [
    ...readFileSync(file, "utf8").matchAll(/join\((?:config\.DATA_DIR|dataDir), "([^"]+)"\)/g),
  ]);
  return [...new Set(names.map(([, name]) => name as string))].filter((name) => !PASSING.includes(name));
}

/** Rows of tables that follow no row and precede no line of dashes: a blank line has cut the table. */
function orphans(file: string): string[] {
  let fenced = false;
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.filter((line, at) => {
    if (line.startsWith("```")) fenced = !fenced;
    if (fenced || !line.startsWith("|") || lines[at - 1]?.startsWith("|")) return false;
    return !/^\|[ :|-]+\|$/.test(lines[at + 1] ?? "");
  });
}

describe("the pages for operators", () => {
  it("name every file and folder of a data folder", () => {
    const names = kept();
    expect(names).toEqual(expect.arrayContaining(["postgres", "media", "secrets.json"]));
    expect(names.filter((name) => !page.includes(`\`${name}\``) && !page.includes(`\`${name}/\``))).toEqual(
      [],
    );
  });

  it.each([
    ...globSync("*.md"),
    ...globSync("{docs,packages,deploy,bench}/**/*.md", { exclude: (name) => name === "node_modules" }),
  ])("%s has no table that is cut in two", (file) => {
    expect(orphans(file)).toEqual([]);
  });

  it("name the day of weekday 0, where hours are set", () => {
    const hours = routes
      .map(endpointOf)
      .find(({ operation }) => operation === "PUT /partners/{partner_id}/hours");
    expect(hours?.route.description).toMatch(/Weekday 0 is Sunday/);
  });
});
