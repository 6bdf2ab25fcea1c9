import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { Role } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { exampleOf } from "../../mixins/openapi/example.ts";
import { type Endpoint, endpointOf } from "../../services/api/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { type Client, connect } from "./client.ts";
import { admin, customer, invited, type Kitchen, kitchen } from "./world.ts";

/** For each operation; more by FUZZ_RUNS. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 5);
/** Sign-ups and the like are counted by the minute, and mails by the hour. */
const endpoints = routes.filter(({ limit }) => !limit).map(endpointOf);

let api: Client;
let shop: Kitchen;
let tokens: Record<Role, string>;

beforeAll(async () => {
  api = await connect();
  const root = await admin(api);
  shop = await kitchen(api, root);
  const [me, courier, staff, operator] = await Promise.all([
    customer(api),
    invited(api, root, { role: "deliverer" }),
    invited(api, root, { role: "partner", partner_id: shop.partnerId }),
    // An operator of the test's own: what is sent here may well end the session of whoever sends it.
    invited(api, root, { role: "admin" }),
  ]);
  tokens = { customer: me.token, deliverer: courier.token, partner: staff.token, admin: operator.token };
}, 60_000);
afterAll(() => shop?.close());

const evilTexts = [
  "",
  " ",
  "'; DROP TABLE orders; --",
  "$\u007bjndi:ldap://x}",
  "%s%n",
  "../../etc/passwd",
  "\u0001",
  "\u0000",
  "\ud800",
  "👩‍👩‍👧‍👦".repeat(50),
  "ﷺ".repeat(600),
  "\u202etxt.exe",
  "9".repeat(40),
  "-1",
  "1e309",
  "NaN",
  "2026-02-30T25:61:61Z",
  "0000-00-00",
  newId().toUpperCase(),
  "a@b.c",
  "+4915112345678",
  "https://[::1]:1/",
];
const evil: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(...evilTexts),
  fc.constantFrom<unknown>(null, true, 0, -1, -0, 1.5, 2 ** 53, 2 ** 31, 1e21, [], {}, [[]], [null], {
    a: { b: [] },
  }),
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.jsonValue({ maxDepth: 4 }),
);

/** What the operation takes, with a few of its fields replaced, removed or added. */
function mutated(example: unknown): fc.Arbitrary<unknown> {
  const paths = pathsOf(example);
  const change = fc.tuple(fc.constantFrom(...paths, ["extra"]), fc.oneof(evil, fc.constant(undefined)));
  return fc.oneof(
    {
      weight: 4,
      arbitrary: fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => applied(example, changes)),
    },
    { weight: 1, arbitrary: evil },
  );
}

function pathsOf(value: unknown, at: string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [at];
  return Object.entries(value).flatMap(([name, inner]) => [[...at, name], ...pathsOf(inner, [...at, name])]);
}

function applied(example: unknown, changes: [string[], unknown][]): unknown {
  const copy = structuredClone(example) as Record<string, unknown>;
  for (const [path, value] of changes) {
    let place: unknown = copy;
    for (const name of path.slice(0, -1)) place = (place as Record<string, unknown> | undefined)?.[name];
    if (typeof place === "object" && place !== null)
      (place as Record<string, unknown>)[path.at(-1) ?? ""] = value;
  }
  return copy;
}

function requestsOf(endpoint: Endpoint) {
  const { route, body, path, query } = endpoint;
  const ids = Object.keys(path.rule.props).map((name) =>
    fc.constantFrom(known(name), newId(), "1", "%00", "..%2f", "%ed%a0%80"),
  );
  const queries = Object.keys(query.rule.props).map((name) =>
    fc.option(
      fc
        .oneof(fc.constantFrom(...evilTexts), fc.string({ unit: "binary", maxLength: 20 }))
        .map((value) => [name, value] as const),
    ),
  );
  const roles = Array.isArray(route.access)
    ? (route.access as Role[])
    : (["customer", "partner", "deliverer", "admin"] as const);
  return fc.record({
    role: fc.constantFrom(...roles),
    ids: fc.tuple(...ids),
    query: fc.tuple(...queries),
    body: body?.part ? mutated(exampleOf(body.part.rule)) : fc.string({ unit: "binary" }),
    ifMatch: fc.option(fc.constantFrom('"1"', '"0"', "*", 'W/"1"', "x"), { nil: undefined }),
  });
}

function known(name: string): string {
  return { partner_id: shop.partnerId, product_id: shop.products[0] }[name] ?? newId();
}

describe("whatever is sent, for every operation", () => {
  it.each(endpoints.map((endpoint) => [endpoint.operation, endpoint] as const))(
    "%s answers what it declares and never a fault of its own",
    async (_, endpoint) => {
      const { route, body } = endpoint;
      // Whoever is deleted or signed out can ask nothing more.
      if (route.method === "DELETE" && /^\/(me|sessions)/.test(route.path)) return;
      await fc.assert(
        fc.asyncProperty(requestsOf(endpoint), async (sent) => {
          const names = [...sent.ids];
          const path = route.path.replace(/\{\w+\}/g, () => String(names.shift()));
          const pairs = sent.query.flatMap((pair) =>
            pair ? [`${pair[0]}=${encodeURIComponent(pair[1].toWellFormed())}`] : [],
          );
          const target = pairs.length > 0 ? `${path}?${pairs.join("&")}` : path;
          if (route.content === "events") return;
          const { status } = await api.request(`${route.method} ${target}`, {
            token: tokens[sent.role],
            ...(body?.part && { body: JSON.stringify(sent.body) ?? "" }),
            ...(body?.kind === "image" && { image: Buffer.from(String(sent.body)) }),
            ...(body?.kind === "signed" && { body: JSON.stringify(sent.body) }),
            ...(route.method === "POST" && { key: newId() }),
            ...(sent.ifMatch && { headers: { "If-Match": sent.ifMatch } }),
          });
          expect(status).toBeLessThan(500);
        }),
        { numRuns: RUNS },
      );
    },
  );
});
