import { once } from "node:events";
import { get, type IncomingMessage, request } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

const ENDS_WITHIN_MS = 60_000;

let gateway: TestGateway;
let orderId: string;
let history: { version: number; to: string }[];
const open = new Set<IncomingMessage>();

beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());
beforeEach(async () => {
  for (const response of open) response.destroy();
  open.clear();
  await gateway.reset();
  orderId = newId();
  history = [{ version: 1, to: "pending" }];
  gateway.on("orders.history", () => ({ items: history.map(entry) }));
});

function entry({ version, to }: { version: number; to: string }) {
  return { id: newId(), type: `order.${to}`, at: "2026-11-22T10:30:00Z", to, actor: "somebody", version };
}

/** Opens the stream and collects its events. */
async function follow(headers: Record<string, string> = {}) {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = get(`${gateway.url}/api/v1/orders/${orderId}/events`, { headers }, resolve);
    request.on("error", reject);
  });
  open.add(response);
  const stream = {
    status: response.statusCode,
    type: response.headers["content-type"],
    text: "",
    ended: false,
    /** Whether the server ended it; otherwise the connection broke. */
    complete: false,
  };
  response.setEncoding("utf8").on("data", (chunk) => {
    stream.text += chunk;
  });
  response.on("close", () => {
    stream.ended = true;
    stream.complete = response.complete;
  });
  return stream;
}

/** Asks for the headers of the stream alone. @throws Error when the answer does not end */
async function head(headers: Record<string, string>): Promise<IncomingMessage> {
  const asked = request(`${gateway.url}/api/v1/orders/${orderId}/events`, {
    method: "HEAD",
    headers,
    signal: AbortSignal.timeout(ENDS_WITHIN_MS),
  });
  const [response] = (await once(asked.end(), "response")) as [IncomingMessage];
  open.add(response);
  await once(response.resume(), "end");
  return response;
}

async function asCustomer(more: Record<string, string> = {}) {
  return { Authorization: `Bearer ${await gateway.identity.token({ id: newId() })}`, ...more };
}

function idsIn(text: string): number[] {
  return [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
}

async function moves(version: number, to: string) {
  history.push({ version, to });
  await gateway.broker.broadcast("order.moved", { orderId, version });
}

describe("GET /orders/{order_id}/events", () => {
  it("returns the history so far, then each move as it happens", async () => {
    const stream = await follow(await asCustomer());
    expect(stream).toMatchObject({ status: 200, type: "text/event-stream; charset=utf-8" });
    await eventually(() => expect(idsIn(stream.text)).toEqual([1]));
    await moves(2, "paid");
    await moves(3, "ready");
    await eventually(() => expect(idsIn(stream.text)).toEqual([1, 2, 3]));
    expect(stream.text).toMatch(/event: order\nid: 3\ndata: \{[^\n]*"to":"ready"[^\n]*\}\n\n/);
  });

  it("with Last-Event-ID, continues after that version", async () => {
    history = [1, 2, 3].map((version) => ({ version, to: "paid" }));
    const stream = await follow(await asCustomer({ "Last-Event-ID": "2" }));
    await eventually(() => expect(idsIn(stream.text)).toEqual([3]));
  });

  it("while the history is behind the announced event, waits for it", async () => {
    const stream = await follow(await asCustomer());
    await gateway.broker.broadcast("order.moved", { orderId, version: 2 });
    history.push({ version: 2, to: "paid" });
    await eventually(() => expect(idsIn(stream.text)).toEqual([1, 2]));
  });

  it("sends the deliverer's positions to the followers of this order only", async () => {
    const stream = await follow(await asCustomer());
    const position = { latitude: 52.5, longitude: 13.4 };
    const at = "2026-11-22T10:31:00Z";
    await gateway.broker.broadcast("order.position", { orderId: newId(), position, at });
    await gateway.broker.broadcast("order.position", {
      orderId,
      position: { latitude: 1, longitude: 2 },
      at,
    });
    await eventually(() => expect(stream.text).toContain(`data: {"latitude":1,"longitude":2,"at":"${at}"}`));
    expect(stream.text).not.toContain("52.5");
  });

  it.each([
    ["of another", "NOT_FOUND", 404],
    ["while Orders is away", "SERVICE_UNAVAILABLE", 503],
  ] as const)("%s, answers a problem and no stream", async (_, type, status) => {
    gateway.on("orders.history", () => {
      throw fail(type);
    });
    expect(await follow(await asCustomer())).toMatchObject({ status, type: "application/problem+json" });
  });

  it("without a token, answers 401", async () => {
    expect((await follow()).status).toBe(401);
  });

  it("after the end of the right to see the order, ends the stream", async () => {
    const stream = await follow(await asCustomer());
    gateway.on("orders.history", () => {
      throw fail("UNAUTHENTICATED");
    });
    await gateway.broker.broadcast("order.moved", { orderId, version: 2 });
    await eventually(() => expect(stream.ended).toBe(true));
  });

  it("with more streams than one user may have, answers 429", async () => {
    const headers = await asCustomer();
    const streams = await Promise.all(Array.from({ length: 10 }, () => follow(headers)));
    expect(new Set(streams.map(({ status }) => status))).toEqual(new Set([200]));
    expect((await follow(headers)).status).toBe(429);
    for (const response of open) response.destroy();
    await eventually(async () => expect((await follow(headers)).status).toBe(200));
  });

  it("with HEAD, answers as it would with GET, ends, and occupies no place", async () => {
    const headers = await asCustomer();
    for (let count = 0; count < 10; count++) {
      expect(await head(headers)).toMatchObject({
        statusCode: 200,
        headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" },
      });
    }
    expect((await follow(headers)).status).toBe(200);
    gateway.on("orders.history", () => {
      throw fail("NOT_FOUND");
    });
    expect(await head(headers)).toMatchObject({ statusCode: 404 });
  });

  it("when the gateway stops, ends the stream and stops in time", async () => {
    const other = await startGateway();
    other.on("orders.history", () => ({ items: history.map(entry) }));
    const mine = gateway;
    gateway = other;
    const stream = await follow(await asCustomer());
    gateway = mine;
    await other.stop();
    await eventually(() => expect(stream).toMatchObject({ ended: true, complete: true }));
  });
});
