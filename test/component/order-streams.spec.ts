import { once } from "node:events";
import { createServer, get, IncomingMessage, type Server, ServerResponse } from "node:http";
import { type AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { fail } from "../../contracts/errors.ts";
import type { Caller } from "../../contracts/meta.ts";
import { courierEvents, type LogEntry, operatorEvents, partnerEvents } from "../../contracts/streams.ts";
import { newId } from "../../lib/ids.ts";
import type { ReadLog } from "../../services/api/events/log-follower.ts";
import { type LogStreams, type LogSubscription, logStreams } from "../../services/api/events/log-streams.ts";
import {
  type OrderStreams,
  orderStreams,
  type Subscription,
} from "../../services/api/events/order-events.ts";
import { type StreamPlaces, streamPlaces } from "../../services/api/events/stream-places.ts";
import { wireRule } from "../../services/api/pipeline/codec.ts";
import { eventually } from "../support/eventually.ts";

const PLACES_OF_ONE_USER = 10;
const PLACES = 2_000;
const HISTORY_RETRIES = 20;
const HISTORY_RETRY_DELAY_MS = 150;
const MAX_UNREAD_BYTES = 256 * 1024;
const TWO_BEATS_MS = 30_000;

let server: Server;
let places: StreamPlaces;
let streams: OrderStreams;

beforeEach(async () => {
  jest.useFakeTimers({ doNotFake: ["setTimeout", "setImmediate", "nextTick", "performance", "Date"] });
  places = streamPlaces();
  streams = orderStreams(places);
  server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  jest.useRealTimers();
  places.close();
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

const caller = { id: newId(), sessionId: newId() };
function watcher(history: Subscription["history"] = async () => []): Subscription {
  return { orderId: newId(), caller, afterVersion: 0, history, version: async () => 0 };
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
  places.close();
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
      await streams.open({ ...watcher(), caller: { id: `user ${user}`, sessionId: "" } }, res, {});
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
    places.close();
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
    places.close();
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
      places.close();
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

  it("with a move that the history shows after a later one, send it, under an id that a resume continues after", async () => {
    const { client, res } = await request();
    let shown = [1, 3];
    const subscription = watcher(async () => shown.map(moved));
    const { orderId } = subscription;
    await streams.open(subscription, res, {});
    shown = [1, 2, 3];
    streams.moved({ orderId, version: 2 });
    const [response] = await once(client, "response");
    let said = "";
    response.setEncoding("utf8").on("data", (chunk: string) => {
      said += chunk;
    });
    const versions = () =>
      [...said.matchAll(/^id: (\d+)\ndata: .*"version":(\d+)/gm)].map(([, ...both]) => both);
    await eventually(() =>
      expect(versions()).toEqual([
        ["1", "1"],
        ["3", "3"],
        ["3", "2"],
      ]),
    );
    places.close();
  });

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

describe("streams from the event log", () => {
  const partnerId = newId();
  /** The log of Orders, and how it is read. */
  let entries: LogEntry[];
  let reads: { after?: number; partnerId?: string }[];
  let log: LogStreams;
  let pruned: number;
  let fails: Error | undefined;
  let onRead: (params: { partnerId?: string }) => void;
  const read: ReadLog = async ({ after, limit, partnerId }) => {
    onRead({ ...(partnerId && { partnerId }) });
    reads.push({ ...(after !== undefined && { after }), ...(partnerId && { partnerId }) });
    await setImmediate();
    if (fails) throw fails;
    const position = entries.at(-1)?.id ?? 0;
    if (after === undefined) return { isKnown: true, position, items: [] };
    const items = entries
      .slice(pruned)
      .filter(({ id, move }) => id > after && (!partnerId || move?.partnerId === partnerId))
      .slice(0, limit);
    return { isKnown: entries.slice(pruned).some(({ id }) => id === after), position, items };
  };
  const MINUTE_US = 60_000_000;
  beforeEach(() => {
    // Far apart, so that only the newest entry is within the time that is read at the start.
    entries = [1, 2, 3].map((minute) => ({ id: minute * 2 * MINUTE_US, ...aMove() }));
    reads = [];
    pruned = 0;
    fails = undefined;
    onRead = () => undefined;
    log = logStreams(places, read, () => ({ ...console, warn: () => undefined }) as never);
  });
  afterEach(async () => {
    places.close();
    server.closeAllConnections();
    await log.close();
  });

  function aMove(change: Partial<NonNullable<LogEntry["move"]>> = {}): Pick<LogEntry, "move"> {
    const move = {
      orderId: newId(),
      partnerId,
      version: 1,
      type: "order.paid",
      at: "2026-11-22T10:00:00.000Z",
    };
    return { move: { ...move, to: "paid", actor: "bank", ...change } };
  }
  const add = (...more: Omit<LogEntry, "id">[]) => {
    for (const one of more) entries.push({ id: (entries.at(-1)?.id ?? 0) + 7, ...one });
    const id = entries.at(-1)?.id as number;
    log.appended(id);
    return id;
  };
  const user = (role: Caller["role"], more: Partial<Caller> = {}): Caller => ({
    ...{ id: newId(), sessionId: newId(), role },
    ...more,
  });
  const staff = () => user("partner", { partnerId });

  let requested: Promise<unknown> = Promise.resolve();
  /** Opens a stream and collects its events. */
  async function follow(change: Partial<LogSubscription> = {}) {
    // One after the other, so that each request finds its own response.
    const own = requested.then(request);
    requested = own;
    const { client, res, leave } = await own;
    const caller = change.caller ?? staff();
    const kind = caller.role === "partner" ? "partner" : caller.role === "deliverer" ? "courier" : "operator";
    const subscription = { kind, caller, verify: async () => undefined, ...change } as LogSubscription;
    const ofPartner = kind === "partner" && { partnerId: caller.partnerId as string };
    const answered = once(client, "response");
    await log.open({ ...ofPartner, ...subscription }, res, {});
    const [response] = (await answered) as [IncomingMessage];
    const stream = { text: "", ended: false, res, response, leave };
    response.setEncoding("utf8").on("data", (chunk) => {
      stream.text += chunk;
    });
    response.on("error", () => undefined);
    response.on("close", () => {
      stream.ended = true;
    });
    return stream;
  }
  const idsIn = ({ text }: { text: string }, event = "\\w+") =>
    [...text.matchAll(new RegExp(`^event: ${event}\nid: (\\d+)$`, "gm"))].map(([, id]) => Number(id));
  const eventsIn = ({ text }: { text: string }) =>
    [...text.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name);

  it("begin with a request to read the list, and show what happens after it", async () => {
    const stream = await follow();
    await eventually(() => expect(idsIn(stream)).toEqual([6 * MINUTE_US]));
    expect(stream.text).toContain('data: {"reason":"opened"}');
    const id = add(aMove({ type: "order.ready", to: "ready" }));
    await eventually(() => expect(idsIn(stream)).toEqual([6 * MINUTE_US, id]));
    expect(stream.text).toMatch(/data: \{"order_id":"[^\n]*"to":"ready"/);
  });

  it("resume after the last event from memory and from the log, without a read for each of many", async () => {
    const first = await follow();
    await eventually(() => expect(idsIn(first)).toHaveLength(1));
    const ids = Array.from({ length: 600 }, () => add(aMove()));
    await eventually(() => expect(idsIn(first).slice(1)).toEqual(ids));
    const before = reads.length;
    const resumed = await Promise.all(ids.slice(0, 5).map((after) => follow({ after })));
    for (const [index, stream] of resumed.entries())
      await eventually(() => expect(idsIn(stream)).toEqual(ids.slice(index + 1)));
    expect(reads.slice(before).filter(({ partnerId }) => partnerId)).toEqual([]);
    // The first entry is older than the memory.
    const old = await follow({ after: 2 * MINUTE_US });
    const all = entries.slice(1).map(({ id }) => id);
    await eventually(() => expect(idsIn(old)).toEqual(all));
    expect(reads.slice(before).filter(({ partnerId }) => partnerId)).not.toEqual([]);
    const id = add(aMove());
    for (const stream of [first, old, ...resumed])
      await eventually(() => expect(idsIn(stream).at(-1)).toBe(id));
  });

  it("that read ahead of what was announced, get nothing twice", async () => {
    const first = await follow();
    await eventually(() => expect(idsIn(first)).toHaveLength(1));
    // Written between the read for all and the one for the client that catches up.
    const ahead = { id: 7 * MINUTE_US, ...aMove() };
    onRead = ({ partnerId }) => {
      if (partnerId && !entries.includes(ahead)) entries.push(ahead);
    };
    const behind = await follow({ after: 2 * MINUTE_US });
    await eventually(() => expect(idsIn(behind)).toEqual([4, 6, 7].map((minute) => minute * MINUTE_US)));
    const id = add(aMove());
    await eventually(() => expect(idsIn(first)).toEqual([6 * MINUTE_US, ahead.id, id]));
    await eventually(() => expect(idsIn(behind).slice(2)).toEqual([ahead.id, id]));
  });

  it("that reconnect again and again while much happens, miss nothing and get nothing twice", async () => {
    const partners = [partnerId, newId(), newId()];
    const own = (index: number) => partners[index % partners.length] as string;
    const callers = partners.map((id) => user("partner", { partnerId: id }));
    const begin = entries.at(-1)?.id as number;
    let isOver = false;
    const producing = (async () => {
      for (let count = 0; count < 300; count++) {
        add(aMove({ partnerId: own(count) }));
        await setImmediate();
      }
      isOver = true;
    })();
    const received = await Promise.all(
      callers.flatMap((caller) =>
        [2, 5, 1_000].map(async (eventsOfOne) => {
          const ids: number[] = [];
          const wanted = () =>
            entries.filter(({ id, move }) => id > begin && move?.partnerId === caller.partnerId);
          while (!isOver || ids.length < wanted().length) {
            const stream = await follow({ caller, after: ids.at(-1) ?? begin });
            await eventually(() => {
              const got = idsIn(stream).length;
              expect(got >= eventsOfOne || (isOver && ids.length + got >= wanted().length)).toBe(true);
            });
            ids.push(...idsIn(stream));
            await stream.leave();
          }
          return { ids, wanted: wanted().map(({ id }) => id) };
        }),
      ),
    );
    await producing;
    for (const { ids, wanted } of received) expect(ids).toEqual(wanted);
  });

  it.each([
    ["are no longer stored", 2 * MINUTE_US],
    ["were never sent", 3 * MINUTE_US],
    ["are of the future", 9 * MINUTE_US],
  ])("after events that %s, say so and continue", async (_, after) => {
    pruned = 1;
    const stream = await follow({ after });
    await eventually(() => expect(idsIn(stream, "reload")).toEqual([6 * MINUTE_US]));
    expect(stream.text).toContain('data: {"reason":"gap"}');
    const id = add(aMove());
    await eventually(() => expect(idsIn(stream)).toEqual([6 * MINUTE_US, id]));
    expect(log.gaps()).toBe(1);
  });

  it("of a log that lost its newest entries, for example by a restore, all say so", async () => {
    const streams = [await follow(), await follow({ caller: user("deliverer") })];
    await eventually(() => streams.every((stream) => expect(idsIn(stream)).toHaveLength(1)));
    entries = entries.slice(0, 2);
    add(aMove());
    for (const stream of streams) await eventually(() => expect(stream.text).toContain('{"reason":"gap"}'));
  });

  it("show partners their own orders, operators what concerns their role, and couriers what they may take", async () => {
    const courier = user("deliverer");
    const other = staff();
    const streams = {
      partner: await follow(),
      other: await follow({ caller: { ...other, partnerId: newId() } }),
      courier: await follow({ caller: courier }),
      admin: await follow({ caller: user("admin") }),
      support: await follow({ caller: user("support") }),
      finance: await follow({ caller: user("finance") }),
    };
    const address = { line1: "Street 1", city: "Bern", postalCode: "3000", country: "CH" };
    const shown = (orderId: string) => ({
      ...{ orderId, partnerId, partnerTitle: "Bakery", pickup: address, destination: address },
      ...{ fee: { amountMinor: 450, currency: "CHF" }, readySince: "2026-11-22T10:00:00.000Z" },
    });
    const moves = Array.from({ length: 4 }, () => aMove({ type: "order.ready", to: "ready" }));
    const [a, b, c, d] = moves.map(({ move }) => move as NonNullable<LogEntry["move"]>) as never as [
      ...[NonNullable<LogEntry["move"]>, NonNullable<LogEntry["move"]>],
      ...[NonNullable<LogEntry["move"]>, NonNullable<LogEntry["move"]>],
    ];
    const at = "2026-11-22T10:00:00.000Z";
    const alert = (kind: string) => ({
      alert: { alertId: newId(), at, kind, subject: newId(), detail: "!" },
    });
    add(
      aMove(),
      { move: a, pool: "appeared", shown: shown(a.orderId) },
      // Taken meanwhile: an order that is gone is not shown.
      { move: b, pool: "appeared" },
      { move: { ...a, delivererId: newId() }, pool: "vanished" },
      { move: c, offeredTo: courier.id, offerUntil: at, shown: shown(c.orderId) },
      { move: d, offeredTo: newId(), offerUntil: at, shown: shown(d.orderId) },
      { move: { ...c, delivererId: courier.id } },
      { move: { ...c, delivererId: newId() }, formerDelivererId: courier.id },
      alert("refund.failed"),
      alert("handover.locked"),
      { duty: { courierId: courier.id, at, onDuty: true } },
    );
    const { partner: mine, courier: poolStream, admin, support, finance } = streams;
    const eight = Array<string>(8).fill("order");
    await eventually(() => {
      expect(eventsIn(mine)).toEqual(["reload", ...eight]);
      expect(eventsIn(poolStream)).toEqual(["reload", "appeared", "vanished", "offered", "mine", "vanished"]);
      expect(eventsIn(admin)).toEqual(["reload", ...eight, "alert", "alert", "courier"]);
      expect(eventsIn(support)).toEqual(["reload", ...eight, "alert"]);
      expect(eventsIn(finance)).toEqual(["reload", ...eight, "alert"]);
    });
    expect(support.text).toContain("handover.locked");
    expect(finance.text).toContain("refund.failed");
    expect(eventsIn(streams.other)).toEqual(["reload"]);
    // The schemas of the documentation are those of the events.
    for (const [{ text }, schemas] of [
      [mine, partnerEvents],
      [poolStream, courierEvents],
      [admin, operatorEvents],
    ] as const)
      for (const [, event, data] of text.matchAll(/^event: (\w+)\nid: \d+\ndata: (.*)$/gm)) {
        const { props } = wireRule(schemas[event as keyof typeof schemas]) as never as { props: object };
        expect(Object.keys(props)).toEqual(expect.arrayContaining(Object.keys(JSON.parse(data as string))));
      }
  });

  it("give a heartbeat with the newest place, where the stream resumes though nothing happened to it", async () => {
    const stream = await follow({ caller: user("partner", { partnerId: newId() }) });
    const id = add(aMove());
    const seen = await follow({ caller: user("admin"), after: 6 * MINUTE_US });
    await eventually(() => expect(idsIn(seen)).toEqual([id]));
    jest.advanceTimersByTime(TWO_BEATS_MS / 2);
    await eventually(() => expect(stream.text).toContain(`: still here\nid: ${id}\n\n`));
  });

  it.each(["UNAUTHENTICATED", "SESSION_REVOKED"] as const)(
    "whose token is refused as %s, end at the next heartbeat; others stay",
    async (type) => {
      const verify = async () => {
        throw fail(type);
      };
      const [stream, unsure, other] = [
        await follow({ verify }),
        await follow({ verify: () => Promise.reject(fail("SERVICE_UNAVAILABLE")) }),
        await follow(),
      ];
      jest.advanceTimersByTime(TWO_BEATS_MS / 2);
      await eventually(() => expect(stream.ended).toBe(true));
      expect([unsure.ended, other.ended]).toEqual([false, false]);
    },
  );

  it("of a session that was revoked, end at once", async () => {
    const [caller, other] = [staff(), staff()];
    const [one, two, stays] = [
      await follow({ caller }),
      await follow({ caller }),
      await follow({ caller: other }),
    ];
    places.endSession(caller.sessionId);
    await eventually(() => expect([one.ended, two.ended]).toEqual([true, true]));
    expect(stays.ended).toBe(false);
    expect(places.counts()).toMatchObject({ partner: 1, courier: 0 });
  });

  it("of one partner, are 200 at most, and those of others are not refused", async () => {
    const close: (() => void)[] = [];
    const open = async (caller: Caller) => {
      const res = new ServerResponse(new IncomingMessage(new Socket()));
      close.push(() => res.destroy());
      await log.open(
        { kind: "partner", caller, partnerId: caller.partnerId as string, verify: async () => undefined },
        ...([res, {}] as const),
      );
    };
    for (let count = 0; count < 200; count++) await open(staff());
    await expect(open(staff())).rejects.toMatchObject({ type: "TOO_MANY_REQUESTS" });
    await open(user("partner", { partnerId: newId() }));
    for (const one of close) one();
  });

  it("whose client does not read, are cut and counted; streams that catch up wait for it", async () => {
    const caller = user("admin");
    const stuck = await follow({ caller });
    stuck.response.pause();
    const reason = "x".repeat(500);
    const gone = once(stuck.res, "close");
    for (let count = 0; !stuck.res.destroyed && count < 100_000; count++) {
      add(aMove({ reason }));
      if (count % 100 === 0) await setImmediate();
    }
    await gone;
    expect(places.cuts()).toMatchObject({ operator: 1 });
    // A client that is far behind gets everything, however slowly it reads.
    const behind = await follow({ caller, after: 6 * MINUTE_US });
    await eventually(() => expect(idsIn(behind)).toEqual(entries.slice(3).map(({ id }) => id)));
  });

  it("while Orders is away, are refused, and work again after it", async () => {
    fails = fail("SERVICE_UNAVAILABLE");
    const { res } = await request();
    const subscription = { kind: "operator", caller: user("admin"), verify: async () => undefined } as const;
    await expect(log.open(subscription, res, {})).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    fails = undefined;
    // The refused stream may still be open.
    const stream = await follow();
    const id = add(aMove());
    await eventually(() => expect(idsIn(stream).at(-1)).toBe(id));
  });

  it("that have all ended, leave no timer and no read behind", async () => {
    const stream = await follow();
    await stream.leave();
    await log.close();
    const before = reads.length;
    jest.advanceTimersByTime(TWO_BEATS_MS);
    add(aMove());
    await setImmediate();
    expect(reads).toHaveLength(before);
    expect(jest.getTimerCount()).toBe(0);
  });
});
