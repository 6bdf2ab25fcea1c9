import fc from "fast-check";
import type { Role } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import type { Endpoint } from "../../services/api/endpoint.ts";
import type { Client } from "../e2e/client.ts";

const ROLES: readonly Role[] = ["customer", "partner", "deliverer", "admin"];

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

/** What one request to an operation says. */
interface Sent {
  role: Role;
  ids: string[];
  query: ([string, string] | null)[];
  body: unknown;
  ifMatch: string | undefined;
}

/**
 * Requests to one operation that are nearly right: what it takes, with some of it broken.
 * @param known a real value for a placeholder, where there is one
 */
export function requestsOf(endpoint: Endpoint, known: Readonly<Record<string, string>>): fc.Arbitrary<Sent> {
  const { route, body, path, query } = endpoint;
  const ids = Object.keys(path.rule.props).map((name) =>
    fc.constantFrom(known[name] ?? newId(), newId(), "1", "%00", "..%2f", "%ed%a0%80"),
  );
  const queries = Object.keys(query.rule.props).map((name) =>
    fc.option(
      fc
        .oneof(fc.constantFrom(...evilTexts), fc.string({ unit: "binary", maxLength: 20 }))
        .map((value): [string, string] => [name, value]),
    ),
  );
  const roles = Array.isArray(route.access) ? (route.access as Role[]) : ROLES;
  return fc.record({
    role: fc.constantFrom(...roles),
    ids: fc.tuple(...ids),
    query: fc.tuple(...queries),
    body: body?.part ? mutated(body.example) : fc.string({ unit: "binary" }),
    ifMatch: fc.option(fc.constantFrom('"1"', '"0"', "*", 'W/"1"', "x"), { nil: undefined }),
  });
}

/** Whether requests made up for it can be sent by somebody who is needed afterwards, and end by themselves. */
export function isRepeatable({ route: { method, path, content } }: Endpoint): boolean {
  // Whoever is deleted, signed out or has another password can ask nothing more, and a stream does not end.
  const ends = method === "DELETE" ? /^\/(me$|sessions)/ : /^\/me\/password$/;
  return content !== "events" && !ends.test(path);
}

/** @returns the status; the client has held the answer against the document */
export async function sendMutated(
  api: Client,
  { route, body }: Endpoint,
  sent: Sent,
  tokens: Readonly<Record<Role, string>>,
): Promise<number> {
  const names = [...sent.ids];
  const path = route.path.replace(/\{\w+\}/g, () => String(names.shift()));
  const pairs = sent.query.flatMap((pair) =>
    pair ? [`${pair[0]}=${encodeURIComponent(pair[1].toWellFormed())}`] : [],
  );
  const target = pairs.length > 0 ? `${path}?${pairs.join("&")}` : path;
  const { status } = await api.request(`${route.method} ${target}`, {
    token: tokens[sent.role],
    ...((body?.part || body?.kind === "signed") && { body: JSON.stringify(sent.body) ?? "" }),
    ...(body?.kind === "image" && { image: Buffer.from(String(sent.body)) }),
    ...(route.method === "POST" && { key: newId() }),
    ...(sent.ifMatch && { headers: { "If-Match": sent.ifMatch } }),
  });
  return status;
}
