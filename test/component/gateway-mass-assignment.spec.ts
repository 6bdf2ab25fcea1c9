import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { exampleOf } from "../../contracts/documentation.ts";
import type { Rule } from "../../contracts/schema.ts";
import { type Endpoint, endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { bodyOf, claimsFor, headersOf, pathOf } from "../support/operations.ts";

const endpoints = routes.map(endpointOf);
const withJson = endpoints.filter(({ body }) => body?.part);

type Fields = readonly (readonly [name: string, rule: Rule])[];
interface Shape extends Rule {
  readonly props?: Record<string, Rule>;
  readonly items?: Shape;
}

/** A field of an answer that the input does not take: its place, as an error names it, and its value. */
interface Addition {
  field: string;
  value: unknown;
}
/** An answer names no more wrong fields than 50. */
const FIELDS_AT_ONCE = 40;

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());
beforeEach(() => gateway.reset());

/** The fields of an object, or of the objects of a list. */
function fieldsOf(rule: Shape): Fields {
  return Object.entries((rule.items ?? rule).props ?? {});
}

/**
 * The fields in answers about the same resource: from paths with the same first segment on the same page of the
 * documentation.
 */
function answersAround({ route }: Endpoint): Fields {
  const resourceOf = (path: string) => path.split("/")[1];
  const related = endpoints.filter(
    (other) => other.route.tag === route.tag || resourceOf(other.route.path) === resourceOf(route.path),
  );
  return related.flatMap(({ answer }) => {
    const fields = fieldsOf(answer);
    const page = fields.find(([name]) => name === "items")?.[1] as Shape | undefined;
    return [...fields, ...(page ? fieldsOf(page) : [])];
  });
}

/** Each field that a body could have got from an answer and that is not its own, also deep inside. */
function additions(input: Shape, answers: Fields, at = ""): Addition[] {
  const here = input.items ? `${at}[0]` : at;
  const taken = new Map(fieldsOf(input));
  const known = Map.groupBy(answers, ([name]) => name);
  return [...known].flatMap(([name, found]): Addition[] => {
    const field = here ? `${here}.${name}` : name;
    const rules = found.map(([, rule]) => rule);
    const inside = taken.get(name);
    if (!inside) return [{ field, value: exampleOf(rules[0] as Rule, name) }];
    return fieldsOf(inside).length > 0 ? additions(inside, rules.flatMap(fieldsOf), field) : [];
  });
}

/** The example with these fields besides. */
function withFields(example: unknown, fields: readonly Addition[]): unknown {
  const body = structuredClone(example);
  for (const { field, value } of fields) {
    const names = field.match(/[^.[\]]+/g) as string[];
    const last = names.pop() as string;
    type Members = Record<string, unknown>;
    const target = names.reduce((object, name) => object[name] as Members, body as Members);
    Object.assign(target, { [last]: value });
  }
  return body;
}

const sent = withJson.map((endpoint) => {
  const rule = endpoint.body?.part?.rule as Rule;
  return [endpoint.operation, endpoint, additions(rule, answersAround(endpoint))] as const;
});

async function send(endpoint: Endpoint, change: { query?: string; body?: unknown }) {
  const body = change.body === undefined ? bodyOf(endpoint) : JSON.stringify(change.body);
  const response = await fetch(`${gateway.url}/api/v1${pathOf(endpoint, change.query)}`, {
    method: endpoint.route.method,
    headers: await headersOf(endpoint, gateway, claimsFor(endpoint)),
    ...(body !== undefined && { body }),
  });
  const { code, errors = [] } = (await response.json()) as {
    code: string;
    errors?: { field: string; rule: string }[];
  };
  return { status: response.status, code, errors: errors.map(({ field, rule }) => ({ field, rule })) };
}

const refused = (...fields: string[]) => ({
  status: 422,
  code: "validation_error",
  errors: fields.map((field) => ({ field, rule: "unknown" })),
});

describe("a field of an answer, sent back as input,", () => {
  it("exists for every operation that takes JSON", () => {
    expect(sent.filter(([, , fields]) => fields.length === 0).map(([operation]) => operation)).toEqual([]);
    const all = sent.flatMap(([operation, , fields]) => fields.map(({ field }) => `${operation} ${field}`));
    expect(new Set(all).size).toBe(all.length);
    expect(all.length).toBeGreaterThan(1_200);
    expect(all).toEqual(
      expect.arrayContaining([
        "PATCH /me role",
        "PATCH /orders/{order_id} status",
        "POST /orders/check lines[0].unit_price",
      ]),
    );
  });

  it.each(sent)("to %s, is refused by its name and reaches no service", async (_, endpoint, fields) => {
    for (let from = 0; from < fields.length; from += FIELDS_AT_ONCE) {
      const some = fields.slice(from, from + FIELDS_AT_ONCE);
      const answer = await send(endpoint, { body: withFields(endpoint.body?.example, some) });
      answer.errors.sort((a, b) => a.field.localeCompare(b.field));
      expect(answer).toEqual(refused(...some.map(({ field }) => field).sort((a, b) => a.localeCompare(b))));
    }
    expect(gateway.calls).toEqual([]);
  });
});

describe("a role in the query", () => {
  // Of the list of users it is a filter.
  const withoutRole = endpoints.filter(({ query }) => !("role" in query.rule.props));
  it.each(withoutRole.map((endpoint) => [endpoint.operation, endpoint] as const))(
    "of %s, is refused and reaches no service",
    async (_, endpoint) => {
      const answer = await send(endpoint, { query: "role=admin" });
      // A request without a valid signature gets no other information.
      expect(answer).toEqual(
        endpoint.route.access === "signed"
          ? { status: 401, code: "bad_signature", errors: [] }
          : refused("role"),
      );
      expect(gateway.calls).toEqual([]);
    },
  );
});
