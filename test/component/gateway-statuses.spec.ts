import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { Context } from "moleculer";
import { type ActionName, actions } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import { type ErrorType, fail } from "../../contracts/errors.ts";
import { exportFile } from "../../contracts/exports.ts";
import { type Ctx, type Role, roles } from "../../contracts/meta.ts";
import { queueOwners } from "../../contracts/operations.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import type { QuoteStore } from "../../services/api/actions/checkout.ts";
import { routable } from "../../services/api/actions/contract.ts";
import { ownActions } from "../../services/api/gateway.ts";
import { type Endpoint, endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { type AnswerChecker, answerChecker, type OpenApi } from "../support/answers.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { bodyOf, claimsFor, headersOf, pathOf } from "../support/operations.ts";
import type { TestClaims } from "../support/tokens.ts";

const endpoints = routes.map(endpointOf);
const ROLES: readonly Role[] = roles;
const QUOTE_TTL_MS = 600_000;

let gateway: TestGateway;
let limited: TestGateway;
let alone: TestGateway;
let answers: AnswerChecker;
let document: Documented;

beforeAll(async () => {
  [gateway, limited, alone] = await Promise.all([
    startGateway(),
    startGateway({ RATE_LIMIT_ADDRESS: 1 }),
    startGateway({}, { alone: true }),
  ]);
  document = (await (await fetch(`${gateway.url}/openapi.json`)).json()) as Documented;
  answers = answerChecker(document);
});
afterAll(() => Promise.all([gateway.stop(), limited.stop(), alone.stop()]));
beforeEach(() => gateway.reset());

type Shown = { content: Record<string, { examples: Record<string, { value: Record<string, unknown> }> }> };
/** As much of the document as its examples of problems need. */
type Documented = OpenApi & {
  paths: Record<string, Record<string, { responses: Record<string, { $ref: string }> }>>;
  components: { responses: Record<string, Shown> };
};

/** The example that the document shows for this problem of the operation. */
function shownFor({ route }: Endpoint, status: number, code: string): Record<string, unknown> | undefined {
  const { $ref } = document.paths[route.path]?.[route.method.toLowerCase()]?.responses[status] ?? {};
  const shown = document.components.responses[$ref?.slice("#/components/responses/".length) ?? ""];
  return shown?.content["application/problem+json"]?.examples[code]?.value;
}

/** A problem without what is another one each time. */
function lasting(problem: Record<string, unknown>) {
  const { type, title, status, code } = problem;
  return { type, title, status, code, members: Object.keys(problem).filter((name) => name in ONCE) };
}
const ONCE = { instance: true, trace_id: true };

interface Change {
  to?: TestGateway;
  query?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  claims?: TestClaims;
}

/** Sends what the operation answers with its success, but for the change; the answer is as it is declared. */
async function send(endpoint: Endpoint, change: Change = {}) {
  const { to = gateway, claims = claimsFor(endpoint) } = change;
  const { method } = endpoint.route;
  const path = pathOf(endpoint, change.query);
  const body = change.body ?? bodyOf(endpoint);
  const headers = { ...(await headersOf(endpoint, to, claims)), ...change.headers };
  const response = await fetch(`${to.url}/api/v1${path}`, {
    method,
    headers: Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== "")),
    ...(body !== undefined && { body }),
  });
  const { status } = response;
  const operation = { method, path: path.split("?")[0] as string, status };
  const type = response.headers.get("content-type") ?? undefined;
  if (type?.startsWith("text/event-stream")) {
    await response.body?.cancel();
    answers.check({ ...operation, type });
    return { status, headers: response.headers, body: {} as Record<string, unknown> };
  }
  const text = await response.text();
  const json = (/json/.test(type ?? "") ? JSON.parse(text) : {}) as Record<string, unknown>;
  answers.check({ ...operation, type, body: json });
  return { status, headers: response.headers, body: json };
}

const behindOwnActions: Record<string, ActionName> = {
  "api.check": "partners.check",
  "api.confirm": "orders.confirm",
  "api.deadLetters": "orders.deadLetters",
  "api.replayDeadLetter": "orders.replayDeadLetter",
  "api.dropDeadLetter": "orders.dropDeadLetter",
  "api.dropDeadLetters": "orders.dropDeadLetters",
  "api.replayDeadLetters": "orders.replayDeadLetters",
  "api.orderEvents": "orders.history",
  "api.partnerEvents": "partners.get",
  "api.courierEvents": "orders.events",
  "api.events": "orders.events",
  "api.user": "identity.user",
  "api.ordersCsv": "orders.list",
  "api.exportFile": "identity.exportPage",
};

/** Has whatever stands behind the operation fail. */
function failing({ route: { action } }: Endpoint, error: () => Error): void {
  const behind = behindOwnActions[action] ?? (action as ActionName);
  const all: readonly ActionName[] =
    action === "api.deadLetters" ? queueOwners.map((owner) => `${owner}.deadLetters` as const) : [behind];
  for (const name of all) {
    gateway.on(name, () => {
      throw error();
    });
  }
}

/** Creates the resources that the operation needs to succeed: a confirmation needs the customer's check. */
async function ready(endpoint: Endpoint): Promise<Change> {
  if (endpoint.route.content === "image") {
    gateway.on(endpoint.route.action as ActionName, () => ({
      contentType: "image/webp",
      etag: "1",
      base64: "",
    }));
  }
  if (endpoint.route.content === "file") {
    gateway.on("identity.exportPage", () => ({
      page: { ...(exampleOf(exportFile) as object) },
      isLast: true,
    }));
  }
  if (endpoint.route.content === "csv") gateway.on("orders.list", () => ({ items: [] }));
  if (endpoint.route.action !== "api.confirm") return {};
  const claims = { id: newId() };
  const quote = exampleOf(actions["partners.check"].result) as object;
  gateway.on("partners.check", () => ({ ...quote, expiresAt: isoTime(Date.now() + QUOTE_TTL_MS) }));
  await send(byAction("api.check"), { claims });
  return { claims };
}

function byAction(action: string): Endpoint {
  return endpoints.find(({ route }) => route.action === action) as Endpoint;
}

/** How a problem that the edge finds by itself is provoked; every other one comes from the service behind. */
const provoke: Partial<Record<ErrorType, (endpoint: Endpoint) => Promise<Change>>> = {
  BAD_REQUEST: async () => ({ query: "broken=%zz" }),
  BAD_JSON: async () => ({ body: "{" }),
  UNAUTHENTICATED: async () => ({ headers: { Authorization: "" } }),
  SESSION_REVOKED: async (endpoint) => {
    const claims = { ...claimsFor(endpoint), sessionId: newId() };
    await gateway.broker.broadcast("session.revoked", { sessionId: claims.sessionId });
    return { claims };
  },
  FORBIDDEN: async ({ route: { access } }) => {
    const role = ROLES.find((one) => !access.includes(one)) as Role;
    return { claims: role === "partner" ? { role, partnerId: newId() } : { role } };
  },
  IDEMPOTENCY_KEY_REQUIRED: async () => ({ headers: { "Idempotency-Key": "" } }),
  PRECONDITION_FAILED: async () => ({ headers: { "If-Match": '"another"' } }),
  PAYLOAD_TOO_LARGE: async ({ body }) => ({ body: Buffer.alloc((body?.maxBytes ?? 0) + 1, " ") }),
  UNSUPPORTED_MEDIA_TYPE: async () => ({ headers: { "Content-Type": "text/plain" } }),
  VALIDATION_ERROR: async ({ body }) =>
    body?.part ? { body: '{"no_such_field":1}' } : { query: "no_such_field=1" },
};

/** Those that the edge finds for some operations and the service for others. */
function atTheEdge(type: ErrorType, endpoint: Endpoint): boolean {
  const { access } = endpoint.route;
  if (type === "FORBIDDEN") return Array.isArray(access);
  const signedIn = access === "any" || Array.isArray(access);
  if (type === "SESSION_REVOKED" || type === "UNAUTHENTICATED") return signedIn;
  if (type === "VALIDATION_ERROR" || type === "BAD_JSON") return endpoint.body?.kind !== "signed";
  return type in provoke;
}

/** Provokes the problem. */
async function provoked(endpoint: Endpoint, type: ErrorType) {
  if (type === "TOO_MANY_REQUESTS") {
    // The window of the limit may end between two requests.
    const answers = await Promise.all([1, 2, 3].map(() => send(endpoint, { to: limited })));
    return answers.find(({ status }) => status === 429) ?? (answers[0] as (typeof answers)[number]);
  }
  if (atTheEdge(type, endpoint)) return await send(endpoint, await provoke[type]?.(endpoint));
  // A cached answer must not replace that of the service that fails now.
  await gateway.reset();
  const change = await ready(endpoint);
  failing(endpoint, () => (type === "INTERNAL" ? new Error("the secret of the house") : fail(type)));
  return await send(endpoint, change);
}

describe("every route", () => {
  it.each(endpoints.map((endpoint) => [endpoint.operation, endpoint] as const))(
    "%s, in each of its outcomes, answers every declared status and problem",
    async (_, endpoint) => {
      const first = await send(endpoint, await ready(endpoint));
      expect(first.status).toBe(endpoint.route.success);
      const seen = new Set([first.status]);
      if (endpoint.statuses.includes(304)) {
        const etag = first.headers.get("etag") as string;
        seen.add((await send(endpoint, { headers: { "If-None-Match": etag } })).status);
        expect((await send(endpoint, { headers: { "If-None-Match": '"another"' } })).status).toBe(200);
      }
      for (const [status, types] of endpoint.problems) {
        for (const type of types) {
          const { headers, body, ...answer } = await provoked(endpoint, type);
          expect({ ...answer, code: body.code }).toEqual({ status, code: type.toLowerCase() });
          expect(lasting(body)).toEqual(lasting(shownFor(endpoint, status, type.toLowerCase()) ?? {}));
          expect(headers.get("content-type")).toBe("application/problem+json");
          expect(headers.has("www-authenticate")).toBe(status === 401);
          expect(headers.has("retry-after")).toBe(status === 429 || status === 503);
          expect(JSON.stringify(body)).not.toContain("secret of the house");
          seen.add(answer.status);
        }
      }
      expect([...seen].sort()).toEqual([...endpoint.statuses].sort());
    },
  );

  it.each(endpoints.map((endpoint) => [endpoint.operation, endpoint] as const))(
    "%s, without its service, answers 503",
    async (_, endpoint) => {
      const { status, body } = await send(endpoint, { to: alone });
      expect({ status, code: body.code }).toEqual({ status: 503, code: "service_unavailable" });
    },
  );
});

describe("the roles of an operation", () => {
  const wanted = endpoints.filter(({ route }) => Array.isArray(route.access));
  const [partnerId, staff] = [newId(), { role: "partner" } as const];

  it.each([
    ["an admin of a partner", { ...staff, partnerId, partnerAdmin: true }, ["partner", "partner_admin"]],
    ["other staff of a partner", { ...staff, partnerId, partnerAdmin: false }, ["partner"]],
    ["a customer", { role: "customer" } as const, ["customer"]],
  ])("refuse %s where it is not named, and nowhere else", async (_, claims, names) => {
    const token = await gateway.identity.token(claims);
    for (const { operation, route } of wanted) {
      const url = `${gateway.url}/api/v1${route.path.replaceAll(/\{\w+\}/g, newId())}`;
      const response = await fetch(url, {
        ...{ method: route.method, headers: { Authorization: `Bearer ${token}` } },
      });
      await response.body?.cancel();
      const isNamed = names.some((name) => (route.access as readonly string[]).includes(name));
      expect([operation, response.status === 403]).toEqual([operation, !isNamed]);
    }
  });

  it.each([
    "api.deadLetters",
    "api.replayDeadLetter",
    "api.replayDeadLetters",
    "api.dropDeadLetter",
    "api.dropDeadLetters",
    "api.user",
  ] as const)("are looked at by the action %s, too", async (name) => {
    const params = exampleOf(routable[name].params) as object;
    const ctx = Context.create(gateway.broker, null as never, params, {}) as Ctx<never>;
    ctx.locals = { caller: { id: newId(), role: "customer", sessionId: newId() } };
    const acting = async () => await ownActions({} as QuoteStore)[name](ctx);
    await expect(acting()).rejects.toMatchObject({ type: "FORBIDDEN" });
    expect(gateway.calls.filter(({ action }) => action !== "identity.jwks")).toEqual([]);
  });

  it.each([
    ["without a token", undefined, "Send an access token: Authorization: Bearer …"],
    ["with another scheme", "Basic YTpi", "The Authorization header holds no bearer token."],
  ])("tell a request %s what is missing", async (_, authorization, detail) => {
    const headers = authorization === undefined ? {} : { Authorization: authorization };
    const response = await fetch(`${gateway.url}/api/v1/me`, { headers });
    expect(await response.json()).toMatchObject({ code: "unauthenticated", detail });
  });
});
