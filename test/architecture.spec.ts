import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";

const ROOT = resolve(import.meta.dirname, "..");
const IMPORT = /^\s*(?:import|export)\b[^;]*?\bfrom\s+"([^"]+)"|\bimport\("([^"]+)"\)|^import\s+"([^"]+)"/gm;

interface File {
  /** Path from the root, with forward slashes. */
  path: string;
  /** Its imports: a path from the root for our own files, else the bare specifier. */
  imports: string[];
}

/** The imports that each part of the project may have. The first rule whose `of` matches a file holds for it. */
const rules: { of: RegExp; may: RegExp; says: string }[] = [
  {
    of: /^lib\//,
    may: /^(lib\/|node:|(?!moleculer)[a-z@](?!.*\.ts$))/,
    says: "lib is free of the framework and of the platform: it imports lib and npm packages, never Moleculer",
  },
  {
    of: /^contracts\//,
    may: /^(lib\/|contracts\/|node:|moleculer$|moleculer-open-api$|fastest-validator$)/,
    says: "contracts import lib, contracts, the validator and the framework's errors and types",
  },
  {
    of: /^providers\/[^/]+\//,
    may: /^(providers\/|lib\/|contracts\/(?!errors)|node:|(?!moleculer)[a-z@](?!.*\.ts$))/,
    says: "a provider never imports Moleculer, a service or a mixin",
  },
  {
    of: /^mixins\//,
    may: /^(mixins\/|lib\/|contracts\/|providers\/message-bus\/(port|index)\.ts|node:|[a-z@](?!.*\.ts$))/,
    says: "a mixin knows no service",
  },
  {
    of: /^sandbox\//,
    may: /^(sandbox\/|lib\/|node:|[a-z@](?!.*\.ts$))/,
    says: "the sandbox is outside: it knows only the public API",
  },
];

/** The floors of a service, from the ground up: a file imports its own floor and those below. */
const floors: readonly RegExp[] = [
  /^domain\//,
  /^dependencies\.ts$/,
  /^store\//,
  /^use-cases\//,
  /^(workers|projections)\//,
  /^actions\//,
  /^[a-z-]+\.service\.ts$/,
];
/** The services that are built in floors. The gateway has the rooms of an HTTP server instead. */
const inFloors = /^services\/(orders|partners|identity|notifications|media)\//;

/** A clock, a random source and the process are no part of a decision; `newId` is random. */
const IMPURE =
  /\b(?:Date\.now|Math\.random|process\.|setTimeout|setInterval|performance\.|fetch|newId)\b|new Date\(\)/;

function sources(folder: string): File[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readSource(join(ROOT, folder, name)));
}

function readSource(file: string): File {
  const imports = [...readFileSync(file, "utf8").matchAll(IMPORT)].map((match) => {
    const target = (match[1] ?? match[2] ?? match[3]) as string;
    return target.startsWith(".") ? relative(ROOT, resolve(dirname(file), target)) : target;
  });
  return { path: relative(ROOT, file), imports };
}

function violations(files: File[]): string[] {
  return files.flatMap((file) => {
    const rule = rules.find(({ of }) => of.test(file.path));
    const wrong = rule ? file.imports.filter((target) => !rule.may.test(target)) : [];
    return [
      ...wrong.map((target) => `${file.path} imports ${target}: ${rule?.says}`),
      ...serviceViolations(file),
      ...domainViolations(file),
      ...floorViolations(file),
      ...packageViolations(file),
    ];
  });
}

function serviceViolations({ path, imports }: File): string[] {
  const own = /^services\/[^/]+\//.exec(path)?.[0];
  if (!own) return [];
  const allowed = /^(mixins\/|providers\/[^/]+\/(index|port)\.ts$|contracts\/|lib\/|node:|[a-z@](?!.*\.ts$))/;
  return imports
    .filter((target) => !target.startsWith(own) && !allowed.test(target))
    .map(
      (target) =>
        `${path} imports ${target}: a service imports its own folder, mixins, ports, contracts, lib`,
    );
}

function domainViolations({ path, imports }: File): string[] {
  const own = /^services\/[^/]+\/domain\//.exec(path)?.[0];
  if (!own) return [];
  return imports
    .filter((target) => !/^(lib|contracts)\//.test(target) && !target.startsWith(own))
    .map((target) => `${path} imports ${target}: the domain is pure`);
}

function floorOf(path: string): number {
  const inside = path.replace(inFloors, "");
  return floors.findIndex((floor) => floor.test(inside));
}

function floorViolations({ path, imports }: File): string[] {
  const own = inFloors.exec(path)?.[0];
  if (!own) return [];
  if (floorOf(path) < 0) return [`${path} is on no floor of its service`];
  return imports
    .filter((target) => target.startsWith(own) && floorOf(target) > floorOf(path))
    .map((target) => `${path} imports ${target}: nothing imports upwards`);
}

const STORE = /^services\/[^/]+\/store\//;
const SQL = /\b(?:SELECT|INSERT INTO|DELETE FROM|UPDATE)\s+[a-z(*:$]|\.raw\(/;
/** Loads, decides and saves an order in one transaction. It belongs to the repositories that it combines. */
const UNIT_OF_WORK = "services/orders/store/unit-of-work.ts";

function storeViolations(sources: { path: string; text: string }[]): string[] {
  return sources
    .filter(({ path, text }) => {
      if (path === UNIT_OF_WORK) return false;
      const isRepository = STORE.test(path) && path.endsWith(".repository.ts");
      return isRepository ? !SQL.test(text) : STORE.test(path) || SQL.test(text);
    })
    .map(({ path }) => `${path}: a store consists of repositories, and all SQL of a service is in them`);
}

/** Every cycle of imports, as the files that it leads through. */
function cycles(files: File[]): string[] {
  const importsOf = new Map(files.map(({ path, imports }) => [path, imports]));
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (path: string, way: string[]): void => {
    if (way.includes(path)) {
      found.push([...way.slice(way.indexOf(path)), path].join(" -> "));
      return;
    }
    if (done.has(path)) return;
    for (const target of importsOf.get(path) ?? []) if (importsOf.has(target)) visit(target, [...way, path]);
    done.add(path);
  };
  for (const { path } of files) visit(path, []);
  return found;
}

/** The imports by name that a package may have: those in its own manifest. */
function dependenciesOf(folder: string): string[] {
  const manifest = JSON.parse(readFileSync(join(ROOT, folder, "package.json"), "utf8"));
  return Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
}

function packageViolations({ path, imports }: File): string[] {
  const own = /^packages\/[^/]+\/src\//.exec(path)?.[0];
  if (!own) {
    return imports
      .filter((target) => target.startsWith("packages/") && path.split("/")[0] !== "packages")
      .map((target) => `${path} imports ${target}: a package is imported by its name`);
  }
  const named = dependenciesOf(own.replace(/src\/$/, ""));
  const isAllowed = (target: string) =>
    target.startsWith(own) ||
    target.startsWith("node:") ||
    named.some((name) => target === name || target.startsWith(`${name}/`));
  return imports
    .filter((target) => !isAllowed(target))
    .map((target) => `${path} imports ${target}: a package imports nothing of the rest`);
}

const folders = ["lib", "contracts", "mixins", "providers", "services", "sandbox", "packages", "platform"];
const files = folders.flatMap(sources);

describe("architecture", () => {
  it("over every source file, follows the dependency rules", () => {
    expect(files.length).toBeGreaterThan(50);
    expect(violations(files)).toEqual([]);
  });

  it("with files that break a rule, names each of them", () => {
    const planted: File[] = [
      { path: "lib/money.ts", imports: ["moleculer"] },
      { path: "lib/money.ts", imports: ["contracts/errors.ts"] },
      { path: "providers/banks/stripe.ts", imports: ["moleculer"] },
      {
        path: "services/orders/orders.service.ts",
        imports: ["services/partners/store/partners.repository.ts"],
      },
      { path: "services/orders/domain/order.ts", imports: ["node:crypto"] },
      { path: "sandbox/partner-system/server.ts", imports: ["contracts/partners.ts"] },
      { path: "mixins/outbox/outbox.mixin.ts", imports: ["services/orders/domain/order.ts"] },
      { path: "packages/client/src/index.ts", imports: ["lib/ids.ts"] },
      { path: "packages/client/src/index.ts", imports: ["knex"] },
      { path: "platform/launch.ts", imports: ["packages/client/src/index.ts"] },
    ];
    expect(violations(planted)).toHaveLength(planted.length);
  });

  it("imports services only from the platform", () => {
    const outside = files.filter(
      ({ path }) => !path.startsWith("services/") && !path.startsWith("platform/"),
    );
    expect(outside.filter(({ imports }) => imports.some((target) => target.startsWith("services/")))).toEqual(
      [],
    );
  });

  it("uses no clock, random source or process in a domain", () => {
    const domains = files.filter(({ path }) => /^services\/[^/]+\/domain\//.test(path));
    expect(domains.length).toBeGreaterThan(20);
    const impure = domains.filter(({ path }) => IMPURE.test(readFileSync(join(ROOT, path), "utf8")));
    expect(impure.map(({ path }) => path)).toEqual([]);
  });

  it("has the SQL of a service in its store, and nothing else there", () => {
    const services = files
      .filter(({ path }) => path.startsWith("services/"))
      .map(({ path }) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
    expect(services.filter(({ path }) => STORE.test(path)).length).toBeGreaterThan(30);
    expect(storeViolations(services)).toEqual([]);
  });

  it("with SQL outside of the store, or a file without SQL in it, names each", () => {
    const planted = [
      { path: "services/orders/actions/queries.ts", text: "rows(db, `SELECT id FROM orders`)" },
      { path: "services/orders/workers/refunds.ts", text: "db.raw(statement)" },
      { path: "services/orders/store/views.ts", text: "export const view = 1;" },
      { path: "services/orders/store/views.repository.ts", text: "export const view = 1;" },
    ];
    expect(storeViolations(planted)).toHaveLength(planted.length);
  });

  it("has no cycle of imports", () => {
    expect(cycles(files)).toEqual([]);
  });

  it("with a planted cycle of imports, finds it", () => {
    const circle: File[] = [
      { path: "lib/a.ts", imports: ["lib/b.ts"] },
      { path: "lib/b.ts", imports: ["lib/a.ts"] },
    ];
    expect(cycles(circle)).toEqual(["lib/a.ts -> lib/b.ts -> lib/a.ts"]);
  });

  it("has a mixin or middleware in each folder of mixins", () => {
    const folders = Object.groupBy(
      files.filter(({ path }) => path.startsWith("mixins/")),
      ({ path }) => dirname(path),
    );
    const without = Object.entries(folders).filter(
      ([, found]) => !found?.some(({ path }) => /\.(mixin|middleware)\.ts$/.test(path)),
    );
    expect(without.map(([folder]) => folder)).toEqual([]);
  });
});
