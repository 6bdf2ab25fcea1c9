import fc from "fast-check";
import type { Role } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import type { Route } from "../../services/api/routes/route.ts";
import type { Client } from "../e2e/client.ts";
import type { Documented } from "./documented.ts";

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
  // Properties that every object inherits, with values that cannot become text.
  fc.constantFrom<unknown>([{ toString: "" }], { toString: 0, valueOf: null }, { length: -1, toJSON: [] }),
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.jsonValue({ maxDepth: 4 }),
);

/** A valid example of the operation with a few fields replaced, removed or added. */
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

/** The parts of one request to an operation. */
interface Sent {
  /** The sender's role; undefined without a sign-in. */
  role: Role | undefined;
  ids: string[];
  query: ([string, string] | null)[];
  body: unknown;
  ifMatch: string | undefined;
}

/**
 * Requests to one operation that are nearly right: what its documentation shows, with some of it broken.
 * @param roles who may do it, which the document does not say; now and then another role sends it
 * @param known a real value for a placeholder, where there is one
 */
export function requestsOf(
  { placeholders, queries, body }: Documented,
  roles: readonly Role[],
  known: Readonly<Record<string, string>>,
): fc.Arbitrary<Sent> {
  const ids = placeholders.map((name) =>
    fc.constantFrom(known[name] ?? newId(), newId(), "1", "%00", "..%2f", "%ed%a0%80"),
  );
  const pairs = queries.map((name) =>
    fc.option(
      fc
        .oneof(fc.constantFrom(...evilTexts), fc.string({ unit: "binary", maxLength: 20 }))
        .map((value): [string, string] => [name, value]),
    ),
  );
  return fc.record({
    role: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom<Role | undefined>(...roles) },
      { weight: 1, arbitrary: fc.constantFrom(...ROLES, undefined) },
    ),
    ids: fc.tuple(...ids),
    query: fc.tuple(...pairs),
    body: body?.example === undefined ? fc.string({ unit: "binary" }) : mutated(body.example),
    ifMatch: fc.option(fc.constantFrom('"1"', '"0"', "*", 'W/"1"', "x"), { nil: undefined }),
  });
}

/** The roles that an operation is for, by its route; all roles where it names none. */
export function rolesOf({ access }: Route): readonly Role[] {
  return Array.isArray(access) ? access : ROLES;
}

/** @returns the status; the client has held the answer against the document */
export async function sendMutated(
  api: Client,
  { method, path, body }: Documented,
  sent: Sent,
  tokens: Readonly<Record<Role, string>>,
): Promise<number> {
  const names = [...sent.ids];
  const filled = path.replace(/\{\w+\}/g, () => String(names.shift()));
  const pairs = sent.query.flatMap((pair) =>
    pair ? [`${pair[0]}=${encodeURIComponent(pair[1].toWellFormed())}`] : [],
  );
  const target = pairs.length > 0 ? `${filled}?${pairs.join("&")}` : filled;
  const { status } = await api.request(`${method} ${target}`, {
    ...(sent.role && { token: tokens[sent.role] }),
    ...(body?.type === "application/json" && { body: JSON.stringify(sent.body) ?? "" }),
    ...(body?.type.startsWith("image/") && { image: Buffer.from(String(sent.body)) }),
    ...(method === "POST" && { key: newId() }),
    ...(sent.ifMatch && { headers: { "If-Match": sent.ifMatch } }),
  });
  return status;
}
