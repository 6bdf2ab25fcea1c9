import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { ServiceBroker } from "moleculer";
import ApiGateway from "moleculer-web";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { type Alias, aliasesOf } from "../../mixins/transporter/moleculer-internals.ts";
import { apiService } from "../../services/api/api.service.ts";
import { BASE_PATH, routerOf, routes } from "../../services/api/routes/index.ts";

/** Paths for each run. The property fails within some hundred when the router differs. */
const RUNS = 5_000;

const broker = new ServiceBroker({ logger: false });
const config = { ...readSettings({}), PUBLIC_URL: "http://127.0.0.1" } as Settings;
const service = broker.createService(apiService({ config }));
const aliases = aliasesOf(service);
const router = routerOf(aliases);

type Resolve = (this: object, path: string, method: string) => false | { alias: Alias; params: object };
const { resolveAlias } = (ApiGateway as unknown as { methods: { resolveAlias: Resolve } }).methods;

/** As moleculer-web's action: one slash at the end is removed before the aliases are tried. */
const withoutSlash = (path: string) => (path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path);

type Outcome = { operation: string; params: object } | { allow: readonly string[] } | "not found";

const ours = (method: string, path: string): Outcome => {
  const found = router.match(method, withoutSlash(path));
  if (found) return { operation: nameOf(found.alias), params: found.params };
  const allow = router.methodsOf(path);
  return allow.length > 0 ? { allow } : "not found";
};

/** The regular expressions of all aliases in turn; of the paths that fit, those with the fewest placeholders count. */
const byExpressions = (method: string, path: string): Outcome => {
  const allow = allowedByExpressions(path);
  const found = resolveAlias.call({ aliases }, withoutSlash(path), method);
  if (found && allow.includes(method)) return { operation: nameOf(found.alias), params: found.params };
  return allow.length > 0 ? { allow } : "not found";
};

const nameOf = ({ method, fullPath }: Alias) => `${method} ${fullPath}`;
const patterns = aliases.map(({ method, fullPath }) => ({
  method,
  placeholders: fullPath.split(":").length,
  pattern: new RegExp(`^${fullPath.replace(/\/$/, "").replaceAll(".", "\\.").replace(/:\w+/g, "[^/]+")}/?$`),
}));
const allowedByExpressions = (path: string) => {
  const fitting = patterns.filter(({ pattern }) => pattern.test(path));
  const fewest = Math.min(...fitting.map(({ placeholders }) => placeholders));
  const methods = fitting.filter((one) => one.placeholders === fewest).map(({ method }) => method);
  if (methods.length === 0) return [];
  return [...methods, ...(methods.includes("GET") ? ["HEAD"] : []), "OPTIONS"].sort();
};

const words = [...new Set(routes.flatMap(({ path }) => path.split("/")))].filter((word) => /^\w/.test(word));
const segment = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...words) },
  fc.uuid(),
  fc.constantFrom(
    "",
    ".",
    "..",
    "{order_id}",
    ":order_id",
    "__proto__",
    "constructor",
    "ORDERS",
    "%6De",
    "a%2Fb",
  ),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 6 }).map((text) => encodeURIComponent(text)),
);
/** A path of the route tables with any segments for its placeholders, often with one segment more, less or other. */
const path = fc
  .record({
    route: fc.constantFrom(...routes.map((route) => BASE_PATH + route.path), "/", "/docs", "/openapi.json"),
    values: fc.array(segment, { minLength: 4, maxLength: 4 }),
    change: fc.constantFrom("none", "none", "none", "replace", "insert", "remove"),
    at: fc.nat(6),
    other: segment,
    end: fc.constantFrom("", "", "", "/"),
  })
  .map(({ route, values, change, at, other, end }) => {
    let next = 0;
    const segments = route.replace(/\{\w+\}/g, () => values[next++] as string).split("/");
    if (change !== "none") {
      segments.splice(1 + at, change === "insert" ? 0 : 1, ...(change === "remove" ? [] : [other]));
    }
    return `/${segments.slice(1).join("/")}${end}`;
  })
  // The expressions fitted one slash more than `Allow` knew of: 405 that allowed no method. Now it is 404.
  .filter((made) => !made.endsWith("//"));
const method = fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND");

describe("the router of the gateway", () => {
  it("finds for every generated path the route of moleculer-web's expressions, or the same refusal", () => {
    const kinds = new Set<string>();
    fc.assert(
      fc.property(method, path, (verb, target) => {
        const outcome = ours(verb, target);
        kinds.add(outcome === "not found" ? outcome : "allow" in outcome ? "not allowed" : "found");
        expect(outcome).toEqual(byExpressions(verb, target));
      }),
      { numRuns: RUNS },
    );
    expect(kinds).toEqual(new Set(["found", "not allowed", "not found"]));
  });

  it.each(routes.map(({ method, path }) => [method, path] as const))("finds %s %s", (verb, template) => {
    const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as string);
    const target = BASE_PATH + template.replace(/\{(\w+)\}/g, "%20$1");
    expect(ours(verb, target)).toEqual({
      operation: `${verb} ${BASE_PATH}${template.replace(/\{(\w+)\}/g, ":$1")}`,
      params: Object.fromEntries(names.map((name) => [name, ` ${name}`])),
    });
  });

  it("prefers a literal segment to a placeholder, also if it has other methods", () => {
    expect(ours("GET", `${BASE_PATH}/orders/check`)).toEqual({ allow: ["OPTIONS", "POST"] });
    expect(ours("GET", `${BASE_PATH}/orders/checks`)).toMatchObject({ params: { order_id: "checks" } });
  });

  it("returns to a placeholder if the literal segment leads no further", () => {
    const opts = { pathToRegexpOptions: { sensitive: true } };
    const made = ["/x/:a/y", "/x/b/z/:c"].map((fullPath) => ({ method: "GET", fullPath, route: { opts } }));
    expect(routerOf(made).match("GET", "/x/b/y")?.params).toEqual({ a: "b" });
  });

  it.each(["/me//", "//me", "/orders//cancel", "/ME"])("knows no path %s", (target) => {
    expect(ours("GET", BASE_PATH + target)).toBe("not found");
  });

  it("finds pages in any case, with and without a slash", () => {
    for (const target of ["/docs", "/docs/", "/Docs"]) {
      expect(ours("GET", target)).toEqual({ operation: "GET /docs", params: {} });
      expect(ours("POST", target)).toEqual({ allow: ["GET", "HEAD", "OPTIONS"] });
    }
  });

  it("refuses a page with a placeholder", () => {
    const alias = { method: "GET", fullPath: "/pages/:name", route: { opts: {} } };
    expect(() => routerOf([alias])).toThrow("/pages/:name: a page has no placeholders");
  });
});
