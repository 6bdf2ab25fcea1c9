import { once } from "node:events";
import { createServer, get, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import {
  type OrderStreams,
  orderStreams,
  type Subscription,
} from "../../services/api/events/order-events.ts";

const PLACES_OF_ONE_USER = 10;
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

/** The ids of the events that a client is told which says that it has seen this one. */
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
  ])("for a client that has seen %s, go on with what there is", async (_, afterVersion, ids) => {
    expect(await idsAfter(afterVersion, { history: [1, 2, 3], version: 3 })).toEqual(ids);
  });

  it("for a client that has seen more than the history knows yet, repeat nothing", async () => {
    expect(await idsAfter(5, { history: [1, 2, 3], version: 5 })).toEqual([]);
  });

  it("for clients that went away before their stream was opened, read nothing and keep no place", async () => {
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

  it("for clients that go away during the first read, never read again and keep no place", async () => {
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

  it("for a client that goes away while its first read fails, free its one place and no other", async () => {
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

  it("for a client that stays, read again with every beat, until it goes", async () => {
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
});
