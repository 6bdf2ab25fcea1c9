import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { ApiError, answered, type Waybill, waybill } from "@waybill/client";
import { newId } from "../../lib/ids.ts";

interface Planned {
  status: number;
  body?: object;
  headers?: Record<string, string>;
}
interface Seen {
  operation: string;
  token: string | undefined;
  key: string | undefined;
  body: string;
}

const orderId = newId();
const path = { order_id: orderId };
const seen: Seen[] = [];
/** The next answers of the server. Default: an empty list. */
const planned: Planned[] = [];
const soon = { "Retry-After": "0.01" };

let server: Server;
let url: string;

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

beforeAll(async () => {
  server = createServer(async (request, response) => {
    seen.push({
      operation: `${request.method} ${request.url}`,
      token: request.headers.authorization,
      key: request.headers["idempotency-key"] as string | undefined,
      body: await bodyOf(request),
    });
    const { status, body, headers } = planned.shift() ?? { status: 200, body: { items: [] } };
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(body && JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());
beforeEach(() => {
  seen.length = 0;
  planned.length = 0;
});

const tokens = (access_token: string, expires_in_seconds: number) => ({
  status: 201,
  body: { access_token, refresh_token: `refresh-${access_token}`, expires_in_seconds, token_type: "Bearer" },
});
async function signedIn(expiresInSeconds: number): Promise<Waybill> {
  const api = waybill({ url });
  planned.push(tokens("first", expiresInSeconds));
  await api.signIn({ email: "zoe@example.org", password: "correct horse" });
  seen.length = 0;
  return api;
}

describe("the typed client, in a session,", () => {
  it("sends the token of a sign-in with every request", async () => {
    const api = await signedIn(600);
    await api.GET("/products");
    expect(seen).toMatchObject([{ operation: "GET /api/v1/products", token: "Bearer first" }]);
  });

  it("exchanges a token that ends soon once, for any number of requests, and reports the new ones", async () => {
    const api = await signedIn(30);
    const told: string[] = [];
    api.onTokens(({ accessToken }) => told.push(accessToken));
    planned.push(tokens("second", 600));
    await Promise.all([api.GET("/banks"), api.GET("/products"), api.GET("/me/devices")]);
    const exchanges = seen.filter(({ operation }) => operation.endsWith("/refresh"));
    expect(exchanges.map(({ body }) => JSON.parse(body))).toEqual([{ refresh_token: "refresh-first" }]);
    expect(seen.filter(({ token }) => token === "Bearer second")).toHaveLength(3);
    expect(told).toEqual(["second"]);
  });

  it("with stored tokens, continues with them", async () => {
    const api = waybill({ url });
    api.signedInWith({ accessToken: "kept", refreshToken: "r", endsAtMs: Date.now() + 600_000 });
    await api.GET("/me");
    api.signedInWith(undefined);
    await api.GET("/partners");
    expect(seen.map(({ token }) => token)).toEqual(["Bearer kept", undefined]);
  });
});

describe("the typed client, when it retries,", () => {
  const confirm = (api: Waybill) =>
    api.POST("/orders/confirm", { body: { check_id: newId(), bank_id: newId() } });

  it("while the platform is busy, repeats a POST with the same key", async () => {
    const busy = { status: 503, body: { code: "service_unavailable" }, headers: soon };
    const inFlight = { status: 409, body: { code: "idempotency_in_flight" }, headers: soon };
    planned.push(busy, inFlight, { status: 201, body: { order_id: orderId } });
    const order = await answered(confirm(waybill({ url })));
    expect(order.order_id).toBe(orderId);
    expect(seen).toHaveLength(3);
    expect(seen[0]?.key).toMatch(/^[0-9a-f-]{36}$/);
    expect(new Set(seen.map(({ key }) => key)).size).toBe(1);
    expect(new Set(seen.map(({ body }) => body)).size).toBe(1);
  });

  it("with a key of the caller's, sends that one", async () => {
    planned.push({ status: 200, body: {} });
    const params = { path, header: { "Idempotency-Key": "mine" } };
    await waybill({ url }).POST("/orders/{order_id}/assign", { params });
    expect(seen[0]?.key).toBe("mine");
  });

  it("never repeats a POST without a key, which might have its effect twice", async () => {
    planned.push({ status: 503, body: { code: "service_unavailable" }, headers: soon });
    const credentials = { email: "zoe@example.org", password: "correct horse" };
    await expect(waybill({ url }).signIn(credentials)).rejects.toMatchObject({ status: 503 });
    expect(seen).toHaveLength(1);
  });

  it("ends after its attempts and throws the last refusal", async () => {
    const busy = { status: 503, body: { code: "service_unavailable" }, headers: soon };
    planned.push(busy, busy, busy, busy);
    const asking = waybill({ url, tries: 3 }).GET("/products");
    await expect(asking).rejects.toMatchObject({ status: 503, code: "service_unavailable" });
    expect(seen).toHaveLength(3);
  });
});

describe("the typed client, after a refusal,", () => {
  it("throws the problem with its code and the invalid fields", async () => {
    const errors = [{ field: "reason", rule: "required", message: "Is required." }];
    planned.push({
      status: 422,
      body: { title: "A field is wrong", status: 422, code: "validation_error", errors },
    });
    const cancelling = waybill({ url }).POST("/orders/{order_id}/cancel", {
      params: { path },
      body: { reason: "" },
    });
    const error = await cancelling.then(
      () => undefined,
      (refusal: unknown) => refusal,
    );
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ status: 422, code: "validation_error", problem: { errors } });
    expect((error as Error).message).toBe(
      `POST /api/v1/orders/${orderId}/cancel: 422 validation_error, A field is wrong, reason: Is required.`,
    );
  });

  it("without any answer, throws that after its attempts", async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const api = waybill({ url: `http://127.0.0.1:${port}`, tries: 2 });
    await expect(api.GET("/products")).rejects.toMatchObject({
      status: 0,
      code: "no_answer",
      message: "GET /api/v1/products: no answer (ECONNREFUSED)",
    });
  });

  it("of a request that the caller aborts, passes the abort on and does not repeat", async () => {
    const ending = new AbortController();
    ending.abort(new Error("left the page"));
    const asking = waybill({ url }).GET("/products", { signal: ending.signal });
    await expect(asking).rejects.toThrow("left the page");
    expect(seen).toEqual([]);
  });
});
