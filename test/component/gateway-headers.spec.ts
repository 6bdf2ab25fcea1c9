import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { requestsTo } from "../support/requests.ts";

type Requests = ReturnType<typeof requestsTo>;

const SHOP = "https://shop.example.org";

let gateway: TestGateway;
let authorization: string;
let request: Requests["request"];
let raw: Requests["raw"];
let rawGet: Requests["rawGet"];
let rawHead: Requests["rawHead"];

beforeAll(async () => {
  gateway = await startGateway({ PUBLIC_URL: "https://api.example.org", CORS_ORIGINS: SHOP });
  authorization = `Bearer ${await gateway.identity.token()}`;
  ({ request, raw, rawGet, rawHead } = requestsTo(gateway, authorization));
});
afterAll(() => gateway.stop());
beforeEach(() => gateway.reset());

/** Bytes of one request without a body, on a connection that ends with its answer. */
const lines = (first: string, ...more: string[]) =>
  `${[first, "Host: x", "Connection: close", ...more].join("\r\n")}\r\n\r\n`;
const orders = "/api/v1/orders";

/** The head of an answer, by names in lower case. */
function headOf(answer: string): { status: number; headers: Record<string, string> } {
  const [head = ""] = answer.split("\r\n\r\n", 1);
  const [first = "", ...fields] = head.split("\r\n");
  const pairs = fields.map((field) => field.split(/: (.*)/s).slice(0, 2) as [string, string]);
  return {
    status: Number(first.split(" ")[1]),
    headers: Object.fromEntries(pairs.map(([name, value]) => [name.toLowerCase(), value])),
  };
}

describe("the security headers for browsers", () => {
  const signed = () => `Authorization: ${authorization}`;
  const kinds: [name: string, status: number, bytes: () => string][] = [
    ["a read", 200, () => lines(`GET ${orders} HTTP/1.1`, signed())],
    ["an unchanged read", 304, () => lines(`GET ${orders} HTTP/1.1`, signed(), "If-None-Match: *")],
    ["a HEAD", 200, () => lines(`HEAD ${orders} HTTP/1.1`, signed())],
    ["a stream of events", 200, () => lines(`GET ${orders}/${newId()}/events HTTP/1.1`, signed())],
    ["OPTIONS", 204, () => lines(`OPTIONS ${orders} HTTP/1.1`)],
    [
      "a preflight",
      204,
      () => lines(`OPTIONS ${orders} HTTP/1.1`, `Origin: ${SHOP}`, "Access-Control-Request-Method: GET"),
    ],
    ["an answer without content", 204, () => lines("DELETE /api/v1/sessions HTTP/1.1", signed())],
    ["nobody's request", 401, () => lines(`GET ${orders} HTTP/1.1`)],
    ["a role that may not", 403, () => lines("GET /api/v1/audit HTTP/1.1", signed())],
    ["an unknown path", 404, () => lines("GET /nothing HTTP/1.1")],
    ["a wrong method", 405, () => lines(`DELETE ${orders} HTTP/1.1`)],
    ["a method that nobody has", 405, () => lines(`TRACE ${orders} HTTP/1.1`)],
    ["a tunnel", 405, () => lines("CONNECT internal.example:22 HTTP/1.1")],
    ["a wrong target", 400, () => lines("GET /api/v1/products?q=%zz HTTP/1.1")],
    ["no HTTP", 400, () => "nonsense\r\n\r\n"],
    ["a header that is too large", 431, () => lines(`GET ${orders} HTTP/1.1`, `X: ${"x".repeat(17_000)}`)],
    ["too many headers", 431, () => lines(`GET ${orders} HTTP/1.1`, ...many(101))],
    ["a wrong query", 422, () => lines("GET /api/v1/products?limit=0 HTTP/1.1", signed())],
    ["the documentation", 200, () => lines("GET /docs/ HTTP/1.1")],
    ["the document", 200, () => lines("GET /openapi.json HTTP/1.1")],
    ["a file of the documentation", 200, () => lines("GET /docs/swagger-ui.css HTTP/1.1")],
    ["the page of the errors", 200, () => lines("GET /docs/errors HTTP/1.1")],
    ["a redirect", 302, () => lines("GET / HTTP/1.1")],
  ];

  it.each(kinds)("are in the answer to %s", async (_, status, bytes) => {
    const head = headOf(await rawHead(bytes()));
    expect(head.status).toBe(status);
    expect(head.headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "strict-transport-security": "max-age=31536000",
      "content-security-policy": expect.stringMatching(/^default-src 'none';.*frame-ancestors 'none'/),
      "cache-control": expect.stringMatching(/no-store|no-cache|max-age=3600/),
    });
    expect(head.headers).not.toHaveProperty("x-powered-by");
    expect(head.headers).not.toHaveProperty("server");
  });

  it("contain the length of an answer with a body", async () => {
    for (const path of [orders, "/nothing"]) {
      const { headers } = headOf(await rawHead(lines(`GET ${path} HTTP/1.1`, signed())));
      expect(Number(headers["content-length"])).toBeGreaterThan(0);
      expect(headers).not.toHaveProperty("transfer-encoding");
    }
  });

  it("are in the answer to an internal error, which contains nothing internal", async () => {
    gateway.on("orders.list", () => {
      throw new Error("connect ECONNREFUSED 10.1.2.3:5432");
    });
    const answer = await request("GET", orders);
    expect(answer.status).toBe(500);
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(answer.text).not.toMatch(/ECONNREFUSED|10\.1\.2\.3/);
    gateway.on("orders.list", () => {
      throw fail("SERVICE_UNAVAILABLE");
    });
    const away = await request("GET", orders);
    expect({ status: away.status, again: away.headers.get("retry-after") }).toEqual({
      status: 503,
      again: "1",
    });
  });
});

function many(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `X-${index}: 1`);
}

describe("gateway, given unusual headers", () => {
  it.each([
    ["TRACE", orders, "GET, HEAD, OPTIONS"],
    ["PROPFIND", "/api/v1/orders/check", "OPTIONS, POST"],
    ["POST", "/docs/", "GET, HEAD, OPTIONS"],
    ["DELETE", "/openapi.json", "GET, HEAD, OPTIONS"],
    ["PUT", "/docs/errors", "GET, HEAD, OPTIONS"],
  ])("by the method %s for %s, answers 405 with the allowed methods", async (method, path, allow) => {
    const { status, headers } = headOf(await raw(lines(`${method} ${path} HTTP/1.1`)));
    expect({ status, allow: headers.allow }).toEqual({ status: 405, allow });
  });

  it("by TRACE, does not return the request", async () => {
    expect(await raw(lines(`TRACE ${orders} HTTP/1.1`, "Cookie: secret=1"))).not.toContain("secret");
  });

  it("by CONNECT, opens no tunnel", async () => {
    const answer = await raw(lines(`CONNECT 127.0.0.1:${gateway.port} HTTP/1.1`));
    expect(headOf(answer)).toMatchObject({ status: 405, headers: { allow: "GET" } });
  });

  it("a hundred of them, reads all; one more, answers 431 instead of leaving it out", async () => {
    const enough = many(100 - 3); // with Host, Connection and Authorization
    const ask = (fields: string[]) =>
      raw(lines(`GET ${orders} HTTP/1.1`, ...fields, `Authorization: ${authorization}`));
    expect(headOf(await ask(enough)).status).toBe(200);
    expect(await ask([...enough, "X-More: 1"])).toMatch(/^HTTP\/1\.1 431 [\s\S]*"code":"headers_too_large"/);
  });

  it.each(["Host", "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Webhook-Id"])(
    "with %s twice, answers 400",
    async (name) => {
      const answer = await rawGet(orders, `${name}: x\r\n${name.toUpperCase()}: y\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    },
  );

  it("with an unknown expectation, ignores it", async () => {
    expect(await rawGet("/api/v1/products", "Expect: the-unexpected\r\n")).toMatch(/^HTTP\/1\.1 401 /);
  });

  it("that request another protocol, continues with this one", async () => {
    const answer = await rawGet("/api/v1/products", "Connection: upgrade\r\nUpgrade: websocket\r\n");
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
  });

  it.each([
    "null",
    "https://shop.example.org.evil.example",
    "https://SHOP.example.org",
    `${SHOP}:8443`,
    `${SHOP}, *`,
  ])("of a page from %s, permits its browser to read nothing", async (origin) => {
    const { headers } = await request("GET", orders, { headers: { Origin: origin } });
    expect(headers.get("access-control-allow-origin")).toBeNull();
    expect(headers.get("access-control-allow-credentials")).toBeNull();
    expect(headers.get("vary")).toContain("Origin");
  });
});
