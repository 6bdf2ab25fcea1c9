import type { ServerResponse } from "node:http";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { ApiError, answered, type OrderEvent, waybill } from "@waybill/client";
import { newId } from "../../lib/ids.ts";
import { type Answer, type ClientServer, clientServer, json } from "../support/client-server.ts";
import { eventually } from "../support/eventually.ts";

const orderId = newId();
const path = { order_id: orderId };
const operation = `GET /orders/${orderId}/events`;
const TIMEOUT_MS = 200;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

let server: ClientServer;
beforeAll(async () => {
  server = await clientServer();
});
afterAll(() => server.close());
beforeEach(() => {
  server.seen.length = 0;
  server.planned.length = 0;
});

const order = (version: number, to: string) =>
  `event: order\nid: ${version}\ndata: ${JSON.stringify({ version, to })}\n\n`;

/** Opens a stream and hands it to the test. */
function stream(): { answer: Answer; opened: Promise<ServerResponse> } {
  const { promise: opened, resolve } = Promise.withResolvers<ServerResponse>();
  return {
    answer: (response) => {
      response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
      response.write("retry: 2000\n\n");
      resolve(response);
    },
    opened,
  };
}

describe("the typed client, following an order,", () => {
  it("returns events for longer than a request may take, until the order has ended", async () => {
    const { answer, opened } = stream();
    server.planned.push(answer);
    const limitMs = 3_600_000;
    const [set, cleared] = [jest.spyOn(globalThis, "setTimeout"), jest.spyOn(globalThis, "clearTimeout")];
    const following = waybill({ url: server.url, timeoutMs: limitMs }).follow(orderId);
    const first = following.next();
    const response = await opened;
    // The time limit holds for the head of a stream alone: its timer ends.
    const limits = set.mock.results.filter((_, call) => set.mock.calls[call]?.[1] === limitMs);
    expect(limits).toHaveLength(1);
    await eventually(() => expect(cleared).toHaveBeenCalledWith(limits[0]?.value as NodeJS.Timeout));
    jest.restoreAllMocks();
    response.write(": still here\n\n");
    response.write(order(1, "paid").slice(0, 20));
    response.write(order(1, "paid").slice(20));
    expect((await first).value).toEqual({ type: "order", id: "1", data: { version: 1, to: "paid" } });
    response.write('event: position\r\ndata: {"latitude":1,\r\ndata: "longitude":2,"at":"x"}\r\n\r\n');
    response.write(`event: unheard-of\ndata: x\n\n${order(2, "delivered")}`);
    const told: OrderEvent[] = [];
    for await (const event of following) told.push(event);
    expect(told).toEqual([
      { type: "position", id: "1", data: { latitude: 1, longitude: 2, at: "x" } },
      { type: "order", id: "2", data: { version: 2, to: "delivered" } },
    ]);
    // The reader has stopped, so the client closes the connection.
    await eventually(() => expect(response.destroyed).toBe(true));
    expect(server.seen).toHaveLength(1);
  });

  it("after a broken stream, continues after the last event, and starts at a given one", async () => {
    const { answer, opened } = stream();
    server.planned.push(answer, (response) => response.destroy());
    const last = stream();
    server.planned.push(last.answer);
    const following = waybill({ url: server.url }).follow(orderId, { lastEventId: "3" });
    const first = following.next();
    (await opened).write(order(4, "ready"));
    expect((await first).value).toMatchObject({ id: "4" });
    const second = following.next();
    (await opened).destroy();
    (await last.opened).end(order(5, "cancelled"));
    expect((await second).value).toMatchObject({ id: "5" });
    expect(await following.next()).toEqual({ done: true, value: undefined });
    expect(server.seen.map((one) => one.operation)).toEqual([operation, operation, operation]);
    expect(server.seen.map(({ headers }) => headers["last-event-id"])).toEqual(["3", "4", "4"]);
  });

  it.each([
    ["followPartner", `/partners/${orderId}/events`, "order"],
    ["followDeliveries", "/deliveries/events", "appeared"],
    ["followAll", "/events", "alert"],
  ] as const)("by %s, continues after the last id, also one without data", async (name, at, type) => {
    const [one, two] = [stream(), stream()];
    server.planned.push(one.answer, two.answer);
    const api = waybill({ url: server.url });
    const following = name === "followPartner" ? api.followPartner(orderId) : api[name]();
    const first = following.next();
    (await one.opened).write('event: reload\nid: 5\ndata: {"reason":"opened"}\n\n');
    expect((await first).value).toEqual({ type: "reload", id: "5", data: { reason: "opened" } });
    const second = following.next();
    (await one.opened).end(": still here\nid: 8\n\n");
    (await two.opened).write(
      `event: unheard-of\nid: 9\ndata: x\n\nevent: ${type}\nid: 10\ndata: {"a":1}\n\n`,
    );
    expect((await second).value).toEqual({ type, id: "10", data: { a: 1 } });
    await following.return();
    expect(server.seen.map((seen) => [seen.operation, seen.headers["last-event-id"]])).toEqual([
      [`GET ${at}`, undefined],
      [`GET ${at}`, "8"],
    ]);
  });

  it("is stopped by its caller, also during the wait before a reconnection", async () => {
    const { answer, opened } = stream();
    server.planned.push(answer);
    const api = waybill({ url: server.url });
    const ending = new AbortController();
    const waiting = api.follow(orderId, { signal: ending.signal }).next();
    const response = await opened;
    ending.abort(new Error("left the page"));
    await expect(waiting).rejects.toThrow("left the page");
    await eventually(() => expect(response.destroyed).toBe(true));

    const again = new AbortController();
    server.planned.push((broken) => broken.writeHead(200, { "Content-Type": "text/event-stream" }).end());
    const reconnecting = api.follow(orderId, { signal: again.signal }).next();
    await eventually(() => expect(server.seen).toHaveLength(2));
    again.abort(new Error("left as well"));
    await expect(reconnecting).rejects.toThrow("left as well");
    expect(server.seen).toHaveLength(2);
  });

  it("of an order that is not visible, is refused like any operation", async () => {
    server.planned.push(json(404, { code: "not_found", status: 404, title: "No" }));
    const refused = waybill({ url: server.url }).follow(orderId).next();
    await expect(refused).rejects.toBeInstanceOf(ApiError);
  });

  it("by the operation itself, returns the stream", async () => {
    const { answer, opened } = stream();
    server.planned.push(answer);
    const asked = waybill({ url: server.url }).GET("/orders/{order_id}/events", { params: { path } });
    const response = await opened;
    const body = await answered(asked);
    response.end(order(1, "paid"));
    expect(await new Response(body as ReadableStream).text()).toContain("id: 1");
  });
});

describe("the typed client, with images,", () => {
  const bytes = new Uint8Array([0xff, 0xd8, 0xff, 0x00, 0x80]);

  it("sends their bytes with their type and returns them as a Blob", async () => {
    const api = waybill({ url: server.url });
    server.planned.push(json(200, { etag: "x", bytes: 5 }), (response) => {
      response.writeHead(200, { "Content-Type": "image/webp" }).end(bytes);
    });
    await api.PUT("/me/avatar", { body: new Blob([bytes], { type: "image/jpeg" }) });
    const avatar = await answered(api.GET("/me/avatar"));
    expect(new Uint8Array(await (avatar as Blob).arrayBuffer())).toEqual(bytes);
    expect(server.seen[0]?.headers).toMatchObject({ "content-type": "image/jpeg", "content-length": "5" });
  });
});

describe("the typed client, with an answer whose body never ends, also after a garbage collection,", () => {
  const answer: Answer = (response) => {
    response.writeHead(200, { "Content-Type": "application/json" }).write('{"items":');
  };
  /** Collects when the head has arrived and the client reads the body. `read` resolves after that. */
  const collecting = () => {
    const { promise: read, resolve } = Promise.withResolvers<void>();
    const fetchThenCollect = async (request: Request) => {
      const response = await fetch(request);
      setImmediate(() => {
        collectGarbage();
        setImmediate(() => resolve(collectGarbage()));
      });
      return response;
    };
    return { fetch: fetchThenCollect as typeof fetch, read };
  };

  it("ends at its time limit", async () => {
    // On a busy machine the head may be late too, which is another error.
    await eventually(async () => {
      server.planned.push(answer);
      const options = { url: server.url, timeoutMs: TIMEOUT_MS, tries: 1, fetch: collecting().fetch };
      await expect(waybill(options).GET("/products")).rejects.toMatchObject({ name: "TimeoutError" });
    });
  });

  it("ends when its caller aborts it", async () => {
    server.planned.push(answer);
    const { fetch, read } = collecting();
    const abort = new AbortController();
    const api = waybill({ url: server.url, timeoutMs: 3_600_000, fetch });
    const refused = expect(api.GET("/products", { signal: abort.signal })).rejects.toMatchObject({
      name: "AbortError",
    });
    await read;
    abort.abort();
    await refused;
  });
});
