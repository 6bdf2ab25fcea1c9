import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";
import type { Allowance } from "../../services/identity/store/limits.repository.ts";
import {
  PASSWORD_TRIES,
  PASSWORD_TRIES_PER_ADDRESS,
  PASSWORD_TRIES_PER_CLIENT,
} from "../../services/identity/use-cases/limits.ts";
import { titlesIn } from "../support/titles.ts";

const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/security.md"), "utf8");

/** `a/test/file.ts` "what one of its tests is called" · "another one". */
const NAMED = /`((?:test|providers)\/[\w/.-]+\.ts)`((?:\s*(?:·\s*)?"[^"\n]+")*)/g;

const named = [...page.matchAll(NAMED)].map(([, file = "", titles = ""]) => ({
  file,
  titles: [...titles.matchAll(/"([^"]+)"/g)].map(([, title]) => title as string),
}));

/** The cells of the last column of each table of threats. */
const defended = page
  .slice(page.indexOf("## Threats"), page.indexOf("## What an operator must set"))
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| threat "))
  .map((line) => line.split(" | "));

describe("docs/security.md", () => {
  it("names only existing tests", () => {
    const missing = named.flatMap(({ file, titles }) => {
      if (!existsSync(join(root, file))) return [file];
      const there = titlesIn(readFileSync(join(root, file), "utf8"));
      return titles
        .filter((title) => !there.some((each) => each.includes(title)))
        .map((title) => `${file}: ${title}`);
    });
    expect(missing).toEqual([]);
    expect(named.flatMap(({ titles }) => titles).length).toBeGreaterThan(60);
  });

  it("has a defence and a test for each threat", () => {
    expect(defended.length).toBeGreaterThanOrEqual(30);
    for (const cells of defended) {
      expect(cells).toHaveLength(3);
      expect(cells[2]).toMatch(/`test\/[\w/.-]+\.spec\.ts`/);
    }
  });

  it("states the limits of wrong passwords that the code has", () => {
    const inWords = ({ max, windowSeconds }: Allowance, noun = "") =>
      `${max} ${noun}in ${windowSeconds / 60} minutes`;
    expect(page).toContain(`${inWords(PASSWORD_TRIES, "wrong passwords ")} for an address from one client`);
    expect(page).toContain(`${inWords(PASSWORD_TRIES_PER_ADDRESS)} from all clients`);
    expect(page).toContain(`${inWords(PASSWORD_TRIES_PER_CLIENT, "wrong passwords ")} from one client`);
  });

  it("names every secret that an operator can replace", () => {
    for (const name of ["SEAL_SECRET", "SEAL_SECRET_PREVIOUS", "BRIDGE_SECRET", "HANDOVER_SECRET"]) {
      expect(page).toContain(`\`${name}\``);
    }
  });
});
