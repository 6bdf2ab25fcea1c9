import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import { newId } from "../../lib/ids.ts";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { requestsTo } from "../support/requests.ts";

type Requests = ReturnType<typeof requestsTo>;

const SHOP = "https://shop.example.org";

let gateway: TestGateway;
let request: Requests["request"];
let raw: Requests["raw"];
let rawGet: Requests["rawGet"];
let rawHead: Requests["rawHead"];

beforeAll(async () => {
  gateway = await startGateway({ CORS_ORIGINS: `${SHOP}, https://other.example.org` });
  ({ request, raw, rawGet, rawHead } = requestsTo(gateway, `Bearer ${await gateway.identity.token()}`));
});
afterAll(() => gateway.stop());
beforeEach(() => gateway.reset());

describe("gateway, given a target", () => {
  it.each([
    ["/api/v1/products?q=%zz"],
    ["/api/v1/products?q=%ff"],
    ["/api/v1/products?q=a%00b"],
    ["/api/v1/products?q=a&q=b"],
    ["/api/v1/products?__proto__=1"],
    ["/api/v1/products?constructor=1"],
    [`/api/v1/products?${Array.from({ length: 101 }, (_, index) => `p${index}=1`).join("&")}`],
    ["/api/v1/orders/%E0%A4%A"],
    ["/api/v1/ünicode"],
    ["http://elsewhere/api/v1/products"],
  ])("%s, answers 400", async (target) => {
    expect(await rawGet(target)).toMatch(/^HTTP\/1\.1 400 [\s\S]*"code":"bad_request"/);
  });

  it.each([
    ["limit=0"],
    ["limit=101"],
    ["limit=1e"],
    ["limit="],
    ["limit=abc"],
    ["limit=0x10"],
    ["x=1"],
    ["q="],
  ])("with the query %s, answers 422", async (query) => {
    expect((await request("GET", `/api/v1/products?${query}`)).status).toBe(422);
  });

  it.each([
    [100, 422, "validation_error"],
    [101, 400, "bad_request"],
  ])("with %d parameters, answers %d", async (length, status, code) => {
    const query = Array.from({ length }, (_, index) => `p${index}=1`).join("&");
    const answer = await request("GET", `/api/v1/products?${query}`);
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status, code });
  });

  it("with a query, passes on numbers as numbers and text unchanged", async () => {
    await request("GET", "/api/v1/products?limit=7&q=caf%C3%A9+cr%C3%A8me");
    expect(gateway.calls[0]?.params).toEqual({ limit: 7, q: "café crème" });
    await request("GET", "/api/v1/products?limit=2e1");
    expect(gateway.calls[1]?.params).toEqual({ limit: 20 });
  });

  it("whose id is invalid, answers 404 and calls no service", async () => {
    expect((await request("GET", "/api/v1/orders/1")).status).toBe(404);
    expect(gateway.calls).toEqual([]);
  });

  it.each([["/api/v1/nothing"], ["/api/v1/Orders"], ["/nothing"], ["/docs/../package.json"], ["/api/v1"]])(
    "%s, which is no path of ours, answers 404 with a problem document",
    async (path) => {
      const answer = await rawGet(path);
      expect(answer).toMatch(/^HTTP\/1\.1 404 [\s\S]*"code":"not_found"/);
    },
  );

  it("with a method that the path does not have, answers 405 and lists its methods", async () => {
    const answer = await request("DELETE", "/api/v1/orders");
    expect({ status: answer.status, code: answer.body.code, allow: answer.headers.get("allow") }).toEqual({
      status: 405,
      code: "method_not_allowed",
      allow: "GET, HEAD, OPTIONS",
    });
    const patched = await request("PUT", `/api/v1/orders/${newId()}`, { body: "{}" });
    expect(patched.headers.get("allow")).toBe("GET, HEAD, OPTIONS, PATCH");
  });

  it("by HEAD, answers like GET without a body", async () => {
    const [got, head] = await Promise.all([
      request("GET", "/api/v1/orders"),
      request("HEAD", "/api/v1/orders"),
    ]);
    expect(head.status).toBe(200);
    expect(head.text).toBe("");
    expect(head.headers.get("etag")).toBe(got.headers.get("etag"));
    expect(head.headers.get("content-length")).toBe(got.headers.get("content-length"));
  });

  it("by OPTIONS, answers the methods and calls nothing", async () => {
    const answer = await request("OPTIONS", "/api/v1/orders");
    expect({ status: answer.status, allow: answer.headers.get("allow") }).toEqual({
      status: 204,
      allow: "GET, HEAD, OPTIONS",
    });
    expect(gateway.calls).toEqual([]);
  });

  it("by an unknown method, answers 405", async () => {
    const answer = await raw("PROPFIND /api/v1/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect(answer).toMatch(/^HTTP\/1\.1 405 /);
  });
});

describe("gateway, given headers", () => {
  it("beyond 16 KB, answers 431 with a problem document", async () => {
    const answer = await rawGet("/api/v1/products", `X-Much: ${"x".repeat(17 * 1024)}\r\n`);
    expect(answer).toMatch(
      /^HTTP\/1\.1 431 [\s\S]*application\/problem\+json[\s\S]*"code":"headers_too_large"/,
    );
  });

  it("that are no HTTP, answers 400 with a problem document", async () => {
    expect(await raw("nonsense\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 [\s\S]*"code":"bad_request"/);
  });

  it("with both lengths of a smuggled request, answers 400", async () => {
    const answer = await raw(
      "POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  });

  it("with a request id, echoes and passes on a valid one and replaces any other", async () => {
    const given = await request("GET", "/api/v1/orders", { headers: { "X-Request-Id": "req-42" } });
    expect(given.headers.get("x-request-id")).toBe("req-42");
    expect(gateway.calls[0]?.meta.requestId).toBe("req-42");
    const forged = await request("GET", "/api/v1/orders", { headers: { "X-Request-Id": 'x"; drop' } });
    expect(forged.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  it.each([["Basic abc"], ["Bearer"], ["Bearer a b"], ["Bearer not.a.token"], ["bearer e30.e30.e30"]])(
    "with the credential %p, answers 401 and how to authenticate",
    async (credential) => {
      const answer = await request("GET", "/api/v1/orders", { headers: { Authorization: credential } });
      expect({ status: answer.status, code: answer.body.code }).toEqual({
        status: 401,
        code: "unauthenticated",
      });
      expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="waybill"');
    },
  );

  it("with a role that may not do it, refuses before it reads the body", async () => {
    const answer = await request("POST", "/api/v1/banks", { body: "{" });
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status: 403, code: "forbidden" });
  });

  it("with an Idempotency-Key, passes it on with a digest of path and body", async () => {
    const [one, two] = [newId(), newId()];
    const cancel = (orderId: string, key: string, body = "{}") =>
      request("POST", `/api/v1/orders/${orderId}/cancel`, { headers: { "Idempotency-Key": key }, body });
    await cancel(one, "key-1");
    await cancel(two, '"key-1"');
    await cancel(one, "key-1", '{"reason":"another body"}');
    const [first, second, third] = gateway.calls.map(
      ({ meta }) => meta.idempotency as { key: string; bodyHash: string },
    );
    expect(first).toEqual({ key: "key-1", bodyHash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(second?.key).toBe("key-1");
    expect(new Set([first, second, third].map((one) => one?.bodyHash)).size).toBe(3);
    expect((await cancel(one, "ü")).status).toBe(400);
    expect((await cancel(one, "x".repeat(256))).status).toBe(400);
  });

  it("with If-Match, passes on the version of the tag that it issued", async () => {
    gateway.on("orders.get", () => ({
      ...(exampleOf(endpoint("GET /orders/{order_id}").answer) as object),
      version: 7,
    }));
    const path = `/api/v1/orders/${newId()}`;
    const etag = (await request("GET", path)).headers.get("etag") as string;
    expect(etag).toMatch(/^"7-[\w-]{22}"$/);
    const patch = async (ifMatch: string) =>
      (await request("PATCH", path, { headers: { "If-Match": ifMatch }, body: '{"note":"x"}' })).status;
    const answers = [
      await patch(etag),
      await patch("*"),
      await patch(`W/${etag}`),
      await patch('"7"'),
      await patch('"x"'),
    ];
    expect(answers).toEqual([200, 200, 200, 200, 412]);
    const written = await request("PATCH", path, { body: '{"note":"x"}' });
    expect(written.headers.get("etag")).toMatch(/^"\d+-[\w-]{22}"$/);
    const versions = gateway.calls
      .slice(1)
      .map(({ params }) => (params as Params<"orders.update">).expectedVersion);
    expect(versions).toEqual([7, undefined, 7, 7]);
  });

  it("with a traceparent, names its trace in a problem, else a new one", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const known = await request("GET", "/nothing", {
      headers: { Traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
    });
    expect(known.body.trace_id).toBe(traceId);
    const unknown = await request("GET", "/nothing", { headers: { Traceparent: "nonsense" } });
    expect(unknown.body.trace_id).toMatch(/^(?!4bf92f)[0-9a-f]{32}$/);
    const named = await request("GET", "/nothing", { headers: { "X-Request-Id": "no-uuid" } });
    expect(named.body.trace_id).toMatch(/^[0-9a-f]{32}$/);
  });

  it("of a page of another origin, permits exactly the listed origins", async () => {
    const from = async (origin: string) =>
      (await request("GET", "/api/v1/orders", { headers: { Origin: origin } })).headers.get(
        "access-control-allow-origin",
      );
    expect(await from(SHOP)).toBe(SHOP);
    expect(await from("https://shop.example.or")).toBeNull();
    expect(await from(`${SHOP}.evil.example`)).toBeNull();
    expect(await from("null")).toBeNull();
    const preflight = await request("OPTIONS", "/api/v1/orders/check", {
      headers: { Origin: SHOP, "Access-Control-Request-Method": "POST", Authorization: "" },
    });
    expect({
      status: preflight.status,
      methods: preflight.headers.get("access-control-allow-methods"),
    }).toEqual({
      status: 204,
      methods: "OPTIONS, POST",
    });
  });

  it("of a proxy that keeps its connection for 60 s, does not close it earlier", async () => {
    const answer = await rawHead("GET /docs/ HTTP/1.1\r\nHost: x\r\n\r\n");
    const [, seconds] = /^Keep-Alive: timeout=(\d+)\r?$/m.exec(answer) ?? [];
    expect(Number(seconds)).toBeGreaterThan(60);
  });

  it("of any kind, answers with the security headers for browsers", async () => {
    const { headers } = await request("GET", "/api/v1/orders");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(headers.get("cache-control")).toBe("private, no-cache");
    expect(headers.get("x-powered-by")).toBeNull();
  });
});

function endpoint(operation: string) {
  return endpointOf(
    routes.find(({ method, path }) => `${method} ${path}` === operation) as (typeof routes)[number],
  );
}
