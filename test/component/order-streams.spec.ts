import { once } from "node:events";
import { createServer, get, IncomingMessage, type Server, ServerResponse } from "node:http";
import { type AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import {
  type OrderStreams,
  orderStreams,
  type Subscription,
} from "../../services/api/events/order-events.ts";
import { eventually } from "../support/eventually.ts";

const PLACES_OF_ONE_USER = 10;
const PLACES = 2_000;
const HISTORY_RETRIES = 20;
const HISTORY_RETRY_DELAY_MS = 150;
const MAX_UNREAD_BYTES = 256 * 1024;
const TWO_BEATS_MS = 30_000;

let server: Server;
let streams: OrderStreams;

beforeEach(async () => {
  jest.useFakeTimers({ doNotFake: ["setTimeout", "setImmediate", "nextTick", "performance", "Date"] });
  streams = orderStreams();
  server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  jest.useRealTimers();
  streams.close();
  server.closeAllConnections();
  server.close();
});

/** A request of a client, and what the server would answer it with. */
async function request() {
  const client = get({ port: (server.address() as AddressInfo).port, agent: false });
  client.on("error", () => undefined);
  const [, res] = (await once(server, "request")) as [unknown, ServerResponse];
  const leave = async () => {
    const gone = once(res, "close");
    client.destroy();
    await gone;
  };
  return { client, res, leave };
}

const userId = newId();
function watcher(history: Subscription["history"] = async () => []): Subscription {
  return { orderId: newId(), userId, afterVersion: 0, history, version: async () => 0 };
}

const moved = (version: number) =>
  ({ version, type: "order.paid", at: "2026-11-22T10:00:00.000Z", to: "paid", actor: "bank" }) as never;

/** The ids of the events that a client gets which has seen this one. */
async function idsAfter(
  afterVersion: number,
  there: { history: number[]; version: number },
): Promise<string[]> {
  const { client, res } = await request();
  const history = async () => there.history.map(moved);
  await streams.open({ ...watcher(history), afterVersion, version: async () => there.version }, res, {});
  const [response] = await once(client, "response");
  streams.close();
  return [...(await text(response)).matchAll(/^id: (\d+)$/gm)].map(([, id]) => id as string);
}

/** A user has all places again when as many streams as that can be opened. */
async function expectAllPlacesFree() {
  for (let count = 0; count < PLACES_OF_ONE_USER; count++) {
    const { client, res } = await request();
    await streams.open(watcher(), res, {});
    await once(client, "response");
  }
}

describe("order streams", () => {
  it.each([
    ["nothing", 0, ["1", "2", "3"]],
    ["all but one", 2, ["3"]],
    ["all", 3, []],
    ["events that a restore has taken away", 7, ["1", "2", "3"]],
    ["a number that is none of ours", 9_999_999_999, ["1", "2", "3"]],
  ])("for a client that has seen %s, continue with later events", async (_, afterVersion, ids) => {
    expect(await idsAfter(afterVersion, { history: [1, 2, 3], version: 3 })).toEqual(ids);
  });

  it("for a client that has seen more than the history has yet, repeat nothing", async () => {
    expect(await idsAfter(5, { history: [1, 2, 3], version: 5 })).toEqual([]);
  });

  it.each([
    ["is in the history", 3, 0],
    ["may have been taken away by a restore", 4, 1],
  ])(
    "for a client whose last event %s, ask for the order's version no more than needed",
    async (_, afterVersion, times) => {
      const { res } = await request();
      const version = jest.fn(async () => 3);
      const history = async () => [1, 2, 3].map(moved);
      await streams.open({ ...watcher(history), afterVersion, version }, res, {});
      expect(version).toHaveBeenCalledTimes(times);
    },
  );

  it("for a client that has seen more than an empty history, ask for the order's version", async () => {
    const { res } = await request();
    const version = jest.fn(async () => 1);
    await streams.open({ ...watcher(), afterVersion: 1, version }, res, {});
    expect(version).toHaveBeenCalledTimes(1);
  });

  it("for clients that left before their stream was opened, read nothing and free their places", async () => {
    const history = jest.fn<Subscription["history"]>(async () => []);
    for (let count = 0; count < PLACES_OF_ONE_USER; count++) {
      const { res, leave } = await request();
      await leave();
      await streams.open(watcher(history), res, {});
    }
    jest.advanceTimersByTime(TWO_BEATS_MS);
    expect(history).not.toHaveBeenCalled();
    await expectAllPlacesFree();
  });

  it("for clients that leave during the first read, never read again and free their places", async () => {
    let reads = 0;
    for (let count = 0; count < PLACES_OF_ONE_USER; count++) {
      const { res, leave } = await request();
      const history = async () => {
        reads += 1;
        await leave();
        return [];
      };
      await streams.open(watcher(history), res, {});
    }
    jest.advanceTimersByTime(TWO_BEATS_MS);
    expect(reads).toBe(PLACES_OF_ONE_USER);
    expect(jest.getTimerCount()).toBe(0);
    await expectAllPlacesFree();
  });

  it("for a client that leaves while its first read fails, free its one place and no other", async () => {
    const staying = await request();
    await streams.open(watcher(), staying.res, {});
    const { res, leave } = await request();
    const history = async () => {
      await leave();
      throw fail("NOT_FOUND");
    };
    await expect(streams.open(watcher(history), res, {})).rejects.toMatchObject({ type: "NOT_FOUND" });
    for (let count = 1; count < PLACES_OF_ONE_USER; count++) {
      await streams.open(watcher(), (await request()).res, {});
    }
    const refused = streams.open(watcher(), (await request()).res, {});
    await expect(refused).rejects.toMatchObject({ type: "TOO_MANY_REQUESTS" });
  });

  it("for a client that stays, read again with every heartbeat, until it leaves", async () => {
    let reads = 0;
    const { res, client, leave } = await request();
    const history = async () => {
      reads += 1;
      return [];
    };
    await streams.open(watcher(history), res, {});
    await once(client, "response");
    jest.advanceTimersByTime(TWO_BEATS_MS / 2);
    expect(reads).toBe(2);
    await leave();
    jest.advanceTimersByTime(TWO_BEATS_MS);
    expect(reads).toBe(2);
    expect(jest.getTimerCount()).toBe(0);
  });

  it("of all users together, are 2,000 at most", async () => {
    const close: (() => void)[] = [];
    const openOne = async (user: number) => {
      const res = new ServerResponse(new IncomingMessage(new Socket()));
      await streams.open({ ...watcher(), userId: `user ${user}` }, res, {});
      close.push(() => res.destroy());
    };
    for (let count = 0; count < PLACES; count++) await openOne(Math.floor(count / PLACES_OF_ONE_USER));
    await expect(openOne(PLACES)).rejects.toMatchObject({ type: "OVERLOADED" });
    for (const one of close) one();
  });

  it("with a position before the history is read, send their headers first and continue", async () => {
    const { client, res } = await request();
    const subscription = watcher(async () => {
      streams.position(position);
      return [moved(1)];
    });
    const position = { orderId: subscription.orderId, position: { latitude: 1, longitude: 2 }, at: "now" };
    await streams.open(subscription, res, { "X-Request-Id": "first" });
    streams.position(position);
    const [response] = await once(client, "response");
    streams.close();
    expect(response.headers).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "x-request-id": "first",
    });
    const said = await text(response);
    expect(said.match(/^event: \w+$/gm)).toEqual(["event: order", "event: position"]);
  });

  it("that have ended, write nothing more", async () => {
    const { client, res } = await request();
    const failed = jest.fn();
    res.on("error", failed);
    const subscription = watcher();
    const { orderId } = subscription;
    await streams.open(subscription, res, {});
    const [response] = await once(client, "response");
    streams.close();
    streams.position({ orderId, position: { latitude: 1, longitude: 2 }, at: "now" });
    expect(await text(response)).not.toContain("position");
    expect(failed).not.toHaveBeenCalled();
  });

  it("whose client does not read, are cut off", async () => {
    const { client, res } = await request();
    const subscription = watcher();
    const { orderId } = subscription;
    const gone = once(res, "close");
    await streams.open(subscription, res, {});
    const [response] = await once(client, "response");
    response.pause();
    const at = "x".repeat(MAX_UNREAD_BYTES);
    // The first ones fill the buffers of the connection.
    while (!res.destroyed) streams.position({ orderId, position: { latitude: 1, longitude: 2 }, at });
    await gone;
  });

  it("closed during their first read, answer that the gateway stops", async () => {
    const { res } = await request();
    const history = async () => {
      streams.close();
      return [];
    };
    await expect(streams.open(watcher(history), res, {})).rejects.toMatchObject({
      type: "SERVICE_UNAVAILABLE",
    });
    expect(res.headersSent).toBe(false);
  });

  it("with an event that cannot be written, end", async () => {
    const { client, res } = await request();
    const history = async () => [{ ...(moved(1) as object), reason: 1n } as never];
    const opened = streams.open(watcher(history), res, {});
    await expect(opened).rejects.toThrow("BigInt");
    const [response] = await once(client, "response");
    expect(await text(response)).not.toContain("event: order");
  });

  it("with several transitions during a read, read once more after it", async () => {
    let reads = 0;
    let running = 0;
    const { res } = await request();
    const subscription = watcher(async () => {
      expect(++running).toBe(1);
      reads += 1;
      if (reads < 3) for (const version of [1, 2, 3]) streams.moved({ orderId, version });
      await setImmediate();
      running -= 1;
      return reads < 3 ? [] : [1, 2, 3].map(moved);
    });
    const { orderId } = subscription;
    await streams.open(subscription, res, {});
    await eventually(() => expect(reads).toBe(3));
    await setImmediate();
    expect({ reads, running }).toEqual({ reads: 3, running: 0 });
  });

  it.each([
    ["never shows up", 1, 1 + 1 + HISTORY_RETRIES],
    ["was sent already", 0, 1],
  ])(
    "with a transition that %s, read the history a limited number of times",
    async (_, version, expected) => {
      jest.useFakeTimers({ doNotFake: ["setImmediate", "nextTick", "performance", "Date"] });
      const history = jest.fn<Subscription["history"]>(async () => []);
      const { client, res } = await request();
      const subscription = watcher(history);
      await streams.open(subscription, res, {});
      await once(client, "response");
      streams.moved({ orderId: subscription.orderId, version });
      await jest.advanceTimersByTimeAsync((HISTORY_RETRIES + 5) * HISTORY_RETRY_DELAY_MS);
      expect(history).toHaveBeenCalledTimes(expected);
    },
  );

  it("with a transition that the history shows later, stop reading then", async () => {
    jest.useFakeTimers({ doNotFake: ["setImmediate", "nextTick", "performance", "Date"] });
    let reads = 0;
    const history = async () => (++reads < 4 ? [] : [moved(1)]);
    const { client, res } = await request();
    const subscription = watcher(history);
    await streams.open(subscription, res, {});
    await once(client, "response");
    streams.moved({ orderId: subscription.orderId, version: 1 });
    await jest.advanceTimersByTimeAsync((HISTORY_RETRIES + 5) * HISTORY_RETRY_DELAY_MS);
    expect(reads).toBe(4);
  });

  it.each(["between two reads", "during a read"])(
    "whose client goes away %s of a history that is behind, stop reading",
    async (when) => {
      jest.useFakeTimers({ doNotFake: ["setImmediate", "nextTick", "performance", "Date"] });
      let reads = 0;
      const { client, res, leave } = await request();
      const subscription = watcher(async () => {
        if (++reads === 3 && when === "during a read") await leave();
        return [];
      });
      await streams.open(subscription, res, {});
      await once(client, "response");
      streams.moved({ orderId: subscription.orderId, version: 1 });
      const gone = once(res, "close");
      await jest.advanceTimersByTimeAsync(HISTORY_RETRY_DELAY_MS);
      if (when === "between two reads") await leave();
      await gone;
      const before = reads;
      await jest.advanceTimersByTimeAsync((HISTORY_RETRIES + 5) * HISTORY_RETRY_DELAY_MS);
      expect(reads).toBe(before);
      expect(jest.getTimerCount()).toBe(0);
    },
  );
});
