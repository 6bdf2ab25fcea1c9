import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { Rule } from "../../contracts/schema.ts";
import { contractOf } from "../../services/api/actions/contract.ts";
import { type Endpoint, endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { bodyOf, claimsFor, headersOf, pathOf } from "../support/operations.ts";

interface Shape extends Rule {
  readonly props?: Record<string, Shape>;
  readonly items?: Shape;
}

const endpoints = routes.map(endpointOf);
const withJson = endpoints.filter(({ body }) => body?.part).map((one) => [one.operation, one] as const);
const unsigned = endpoints.filter(({ route }) => route.access !== "signed");

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());
beforeEach(() => gateway.reset());

async function send(endpoint: Endpoint, change: { headers?: Record<string, string>; body?: string } = {}) {
  const body = change.body ?? bodyOf(endpoint);
  const response = await fetch(`${gateway.url}/api/v1${pathOf(endpoint)}`, {
    method: endpoint.route.method,
    headers: { ...(await headersOf(endpoint, gateway, claimsFor(endpoint))), ...change.headers },
    ...(body !== undefined && { body }),
  });
  const answer = { status: response.status, code: "" };
  if (response.status >= 400) answer.code = ((await response.json()) as { code: string }).code;
  else await response.body?.cancel();
  return answer;
}

/** The paths of all fields that may be left out, also deep inside; those of a list's items by its first item. */
function optionalFields(rule: Shape, at: readonly string[] = []): string[][] {
  if (rule.items) return optionalFields(rule.items, [...at, "0"]);
  return Object.entries(rule.props ?? {}).flatMap(([name, field]) => {
    const path = [...at, name];
    return [...(field.optional ? [path] : []), ...optionalFields(field, path)];
  });
}

/** The example of the operation with null in this place. */
function withNull(endpoint: Endpoint, path: readonly string[]): string {
  const body = structuredClone(endpoint.body?.example);
  const owner = path.slice(0, -1).reduce((value, name) => (value as Record<string, unknown>)[name], body);
  (owner as Record<string, unknown>)[path.at(-1) as string] = null;
  return JSON.stringify(body);
}

/** The fields of the operation's contract that null clears, as the client names them. */
function clearableFields({ route }: Endpoint): string[] {
  const { props } = contractOf(route.action).params;
  return Object.entries(props).flatMap(([name, rule]) => (rule.nullable ? [name] : []));
}

describe("gateway, given null for an optional field,", () => {
  it("knows such fields of most operations that take JSON, and those that null clears", () => {
    const all = withJson.flatMap(([operation, { body }]) =>
      optionalFields(body?.part?.rule as Shape).map((path) => `${operation} ${path.join(".")}`),
    );
    expect(all.length).toBeGreaterThan(70);
    expect(all).toEqual(
      expect.arrayContaining([
        "POST /orders/check address.line2",
        "PATCH /me phone",
        "POST /users push_token",
      ]),
    );
    const cleared = endpoints.flatMap((one) =>
      clearableFields(one).map((name) => `${one.operation} ${name}`),
    );
    expect(cleared).toEqual(
      expect.arrayContaining([
        "PATCH /me phone",
        "PATCH /me birthDate",
        "PATCH /partners/{partner_id} brand",
        "PATCH /partners/{partner_id} apiUrl",
        "PATCH /partners/{partner_id}/products/{product_id} imageUrl",
        "PATCH /orders/{order_id} note",
      ]),
    );
  });

  it.each(withJson)("of %s, clears it if the contract permits, and otherwise ignores it", async (_, one) => {
    const clears = clearableFields(one);
    for (const path of optionalFields(one.body?.part?.rule as Shape)) {
      gateway.calls.length = 0;
      const { status } = await send(one, { body: withNull(one, path) });
      expect({ path, status }).toEqual({ path, status: one.route.success });
      const params = gateway.calls[0]?.params;
      const nulls = JSON.stringify(params ?? {}).match(/"(\w+)":null/g) ?? [];
      const cleared = clears.filter((name) => snake(name) === path[0]).map((name) => `"${name}":null`);
      expect({ path, nulls }).toEqual({ path, nulls: cleared });
    }
  });

  it.each(withJson)("or for one that %s requires, refuses the latter", async (_, one) => {
    const [required] = Object.entries(one.body?.part?.rule.props ?? {}).filter(([, rule]) => !rule.optional);
    if (!required) return;
    expect(await send(one, { body: withNull(one, [required[0]]) })).toEqual({
      status: 422,
      code: "validation_error",
    });
    expect(gateway.calls).toEqual([]);
  });
});

describe("gateway, given If-Match,", () => {
  const versioned = unsigned.filter((one) => one.versioned).map((one) => [one.operation, one] as const);
  const others = unsigned.filter((one) => !one.versioned).map((one) => [one.operation, one] as const);

  it("compares it for every PATCH, and for each PUT of a resource that has a version", () => {
    const operations = versioned.map(([operation]) => operation);
    const patches = endpoints.filter(({ route }) => route.method === "PATCH");
    expect(operations).toEqual(expect.arrayContaining(patches.map(({ operation }) => operation)));
    const puts = endpoints.filter(({ route, answer }) => {
      const { props = {} } = answer as Shape;
      return route.method === "PUT" && "version" in props;
    });
    expect(operations).toEqual(expect.arrayContaining(puts.map(({ operation }) => operation)));
  });

  it.each(versioned)(
    "for %s, passes its version on, weak or strong, and refuses other values",
    async (_, one) => {
      for (const tag of ['"7-abc"', 'W/"7-abc"']) {
        expect((await send(one, { headers: { "If-Match": tag } })).status).toBe(one.route.success);
      }
      expect(
        gateway.calls.map(({ params }) => (params as { expectedVersion: number }).expectedVersion),
      ).toEqual([7, 7]);
      expect(await send(one, { headers: { "If-Match": '"abc"' } })).toEqual({
        status: 412,
        code: "precondition_failed",
      });
    },
  );

  it.each(others)("for %s, which compares no version, refuses it and calls no service", async (_, one) => {
    expect(await send(one, { headers: { "If-Match": '"7-abc"' } })).toEqual({
      status: 400,
      code: "bad_request",
    });
    expect(gateway.calls).toEqual([]);
  });
});

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
