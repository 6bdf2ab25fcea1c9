import { globSync, readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { settingsCatalogue } from "../../lib/settings/catalogue.ts";
import { readSettings } from "../../lib/settings/settings.ts";
import { databases } from "../../platform/migrate.ts";
import { identityRetentions } from "../../services/identity/workers/retention.ts";
import { notificationRetentions } from "../../services/notifications/workers/retention.ts";
import { orderRetentions } from "../../services/orders/workers/retention.ts";
import { partnerRetentions } from "../../services/partners/workers/retention.ts";
import { createDatabase, openPool } from "../support/postgres.ts";

const page = readFileSync("docs/operating.md", "utf8");
const begin = page.indexOf("## What is kept, and how long");
const section = page.slice(begin, page.indexOf("\n## ", begin + 1));
/** The names in the first cell of each line of the section's tables, and what the rest of the line says of them. */
const lines = section.split("\n").flatMap((line) => {
  const [, first = "", ...rest] = line.split("|");
  const names = [...first.matchAll(/`([^`]+)`/g)].map(([, name]) => name as string);
  return names.map((name) => ({ name, says: rest.join("|") }));
});
const documented = lines.map(({ name }) => name);
/** A map or set that begins empty: it may grow for as long as the process lives. */
const GROWING = /new (?:Map|Set)(?:<.*>)?\(\)/;

async function tablesOf(database: (typeof databases)[number]): Promise<string[]> {
  const made = await createDatabase(database);
  const db = openPool(made, 1);
  const { rows } = await db.query(
    `SELECT CASE schemaname WHEN 'public' THEN '' ELSE schemaname || '.' END || tablename AS name
     FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
  );
  await db.close();
  await made.drop();
  return rows.map(({ name }: { name: string }) => name);
}

describe("the table of retention in docs/operating.md", () => {
  it("has every table and collection of every database once, and no other", async () => {
    const found = new Set<string>();
    const missing: string[] = [];
    for (const database of databases) {
      for (const table of await tablesOf(database)) {
        const names = [`${database}.${table}`, `*.${table}`].filter((name) => documented.includes(name));
        if (names.length !== 1) missing.push(`${database}.${table}`);
        for (const name of names) found.add(name);
      }
    }
    expect(missing).toEqual([]);
    const stores = documented.filter((name) => /^(?:\*|orders|partners|notifications|identity)\./.test(name));
    expect(stores.filter((name) => !found.has(name))).toEqual([]);
    expect(new Set(stores).size).toBe(stores.length);
  });

  it("has every file whose maps and sets can grow, and no other", () => {
    const files = globSync("{services,mixins,packages/moleculer-*,providers,platform,lib,contracts}/**/*.ts")
      .filter((path) => !/contract(?:\.spec)?\.ts$/.test(path))
      .filter((path) => GROWING.test(readFileSync(path, "utf8")))
      .sort();
    expect(documented.filter((name) => name.endsWith(".ts")).sort()).toEqual(files);
  });

  it("names each setting of a retention time, with its default", () => {
    const config = readSettings({});
    for (const name of Object.keys(settingsCatalogue).filter((name) => name.startsWith("KEEP_"))) {
      const value = config[name as keyof typeof config];
      const shown = value === 3_653 ? "10 years" : String(value);
      expect(section).toContain(`\`${name}\` (${shown})`);
    }
  });

  it("names for each pruned store the age", () => {
    const config = readSettings({});
    const none = {} as never;
    const all = [
      ...orderRetentions(config, { history: none, payments: none }).map((one) => ["orders", one] as const),
      ...identityRetentions(config).map((one) => ["identity", one] as const),
      ...partnerRetentions(config.KEEP_DEAD_LETTERS_DAYS).map((one) => ["partners", one] as const),
      ...notificationRetentions(config, none).map((one) => ["notifications", one] as const),
    ];
    for (const [service, { store, keepDays }] of all) {
      const says = lines.find(({ name }) => name === `${service}.${store}`)?.says ?? "";
      const age = keepDays === 3_653 ? /10 years|with the orders/ : new RegExp(`\\b${keepDays}\\b`);
      expect([store, says]).toEqual([store, expect.stringMatching(age)]);
    }
  });
});
