import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";

const ROOT = resolve(import.meta.dirname, "..");
const IMPORT = /^\s*(?:import|export)\b[^;]*?\bfrom\s+"([^"]+)"|\bimport\("([^"]+)"\)|^import\s+"([^"]+)"/gm;

/** Made from the route tables. */
const GENERATED = "packages/client/src/api.ts";

interface File {
  /** Path from the root, with forward slashes. */
  path: string;
  /** What it imports: a path from the root for our own files, else the bare specifier. */
  imports: string[];
}

/** Who may import what. The first rule whose `of` matches a file holds for it. */
const rules: { of: RegExp; may: RegExp; says: string }[] = [
  {
    of: /^lib\//,
    may: /^(lib\/|node:|dinero\.js\/currencies$|iso-3166\/)/,
    says: "lib is pure: it imports only lib, Node and the lists of currencies and countries",
  },
  {
    of: /^contracts\//,
    may: /^(lib\/|contracts\/|moleculer$|moleculer-open-api$)/,
    says: "contracts import only lib, contracts, the framework's errors and types, and the language of documents",
  },
  {
    of: /^providers\/[^/]+\//,
    may: /^(providers\/|lib\/|contracts\/(?!errors)|node:|(?!moleculer)[a-z@](?!.*\.ts$))/,
    says: "a provider never imports Moleculer, a service or a mixin",
  },
  {
    of: /^mixins\//,
    may: /^(mixins\/|lib\/|contracts\/|providers\/carrier\/(port|index)\.ts|node:|[a-z@](?!.*\.ts$))/,
    says: "a mixin knows no service",
  },
  {
    of: /^sandbox\//,
    may: /^(sandbox\/|lib\/|node:|[a-z@](?!.*\.ts$))/,
    says: "the sandbox is outside: it knows only the public API",
  },
];

/** Pure files: the domain, without infrastructure. */
const pure = [
  /^services\/orders\/order(-[a-z]+)?\.ts$/,
  /^services\/partners\/(opening-hours|stock|quote)\.ts$/,
  /^services\/notifications\/(quiet-hours|templates\/[a-z]+)\.ts$/,
];

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
      ...pureViolations(file),
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

function pureViolations({ path, imports }: File): string[] {
  if (!pure.some((pattern) => pattern.test(path))) return [];
  return imports
    .filter((target) => !/^(lib|contracts)\//.test(target) && !pure.some((pattern) => pattern.test(target)))
    .map((target) => `${path} imports ${target}: the domain is pure`);
}

/** What a package may import by name: what its own manifest says. */
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
  it("the dependency rule, over every source file, is kept", () => {
    expect(files.length).toBeGreaterThan(50);
    expect(violations(files)).toEqual([]);
  });

  it("the dependency rule, given files that break it, names each of them", () => {
    const planted: File[] = [
      { path: "lib/money.ts", imports: ["knex"] },
      { path: "providers/banks/stripe.ts", imports: ["moleculer"] },
      { path: "services/orders/orders.service.ts", imports: ["services/partners/partners.repository.ts"] },
      { path: "services/orders/order.ts", imports: ["node:crypto"] },
      { path: "sandbox/partner-system/server.ts", imports: ["contracts/partners.ts"] },
      { path: "mixins/outbox/outbox.mixin.ts", imports: ["services/orders/order.ts"] },
      { path: "packages/client/src/index.ts", imports: ["lib/ids.ts"] },
      { path: "packages/client/src/index.ts", imports: ["knex"] },
      { path: "platform/launch.ts", imports: ["packages/client/src/index.ts"] },
    ];
    expect(violations(planted)).toHaveLength(planted.length);
  });

  it("services, as the others see them, are imported only by the platform", () => {
    const outside = files.filter(
      ({ path }) => !path.startsWith("services/") && !path.startsWith("platform/"),
    );
    expect(outside.filter(({ imports }) => imports.some((target) => target.startsWith("services/")))).toEqual(
      [],
    );
  });

  it("a source file, however much it grew, stays under 300 lines", () => {
    const written = files.filter(({ path }) => path !== GENERATED);
    const long = written.filter(
      ({ path }) => readFileSync(join(ROOT, path), "utf8").split("\n").length > 300,
    );
    expect(long.map(({ path }) => path)).toEqual([]);
  });
});
