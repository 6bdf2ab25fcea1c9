import { connect, createServer, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import type { MongoClient } from "mongodb";
import { newId } from "../../lib/ids.ts";
import type { StoreLocation } from "../../mixins/documents/documents.mixin.ts";
import { shareClient } from "../../mixins/documents/mongo-client.ts";
import { freePort } from "../../platform/free-port.ts";
import { type Ferretdb, startFerretdb } from "../servers/ferretdb.ts";
import { type Event, openEvents } from "../support/documents-contract.ts";
import { eventually } from "../support/eventually.ts";

/** The time limit of one document read. The request as a whole is answered within two seconds. */
const READ_MS = 1_400;
const BACK_MS = 10_000;
/** The driver connects anew after 15 s without a server. */
const RESTARTED_MS = 60_000;
const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing };
function nothing() {}

const event = (version: number): Event => ({ _id: `m${version}`, orderId: "o1", version });
const place = (server: Ferretdb) => ({
  mongoUrl: server.url,
  database: `t${newId().replaceAll("-", "")}`,
});

let opened: Awaited<ReturnType<typeof openEvents>>[] = [];
const open = async (where: StoreLocation) => {
  const one = await openEvents(where);
  opened.push(one);
  return one;
};
afterEach(async () => {
  for (const { broker } of opened) await broker.stop();
  opened = [];
});

describe("MongoDB, unavailable", () => {
  let own: Ferretdb;
  beforeAll(async () => {
    own = await startFerretdb();
  });
  afterAll(() => own.stop());
  afterEach(async () => {
    await own.halt();
    await own.start();
  });

  const timed = async (work: Promise<unknown>) => {
    const startedMs = performance.now();
    const error = await work.then(
      () => undefined,
      (reason: Error) => reason,
    );
    return { error: error as (Error & { type?: string }) | undefined, ms: performance.now() - startedMs };
  };

  it("is reported as SERVICE_UNAVAILABLE in time, without internals, until it returns", async () => {
    const where = place(own);
    const { events } = await open(where);
    await events.insert(event(1));
    await own.kill();
    for (const work of [() => events.get("m1"), () => events.find({}), () => events.insert(event(2))]) {
      const { error, ms } = await timed(work());
      expect(error).toMatchObject({ type: "SERVICE_UNAVAILABLE", code: 503 });
      expect(error?.message).not.toMatch(/mongo|127\.0\.0\.1|ECONN|\d{4}/i);
      expect(ms).toBeLessThan(READ_MS);
    }
    await eventually(() => expect(events.available()).toBe(false));
    expect(events.ready()).toBe(true);
    const backMs = performance.now();
    await own.start();
    await eventually(() => expect(events.available()).toBe(true), { timeoutMs: BACK_MS });
    expect(performance.now() - backMs).toBeLessThan(BACK_MS);
    expect(await events.get("m1")).toEqual(event(1));
    await events.insert(event(2));
  });

  it("does not keep a service from starting, and gets its indexes later", async () => {
    await own.halt();
    const where = place(own);
    const startedMs = performance.now();
    const { events } = await open(where);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    expect(events.available()).toBe(false);
    await expect(events.find({})).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    await own.start();
    await eventually(() => expect(events.available()).toBe(true), { timeoutMs: BACK_MS });
    await events.insert(event(1));
    const { client, release } = shareClient(where.mongoUrl, SILENT as never);
    await eventually(async () => {
      const indexes = await client.db(where.database).collection("events").indexes();
      expect(indexes.map(({ name }) => name)).toContain("orderId_1_version_-1");
    });
    await release();
  });

  it("after a kill, has every acknowledged document", async () => {
    const where = place(own);
    const { events } = await open(where);
    const acknowledged: string[] = [];
    let stop = false;
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let i = 0; !stop; i++) {
        const one = { ...event(i), _id: `${writer}-${i}` };
        await events.insert(one).then(
          () => acknowledged.push(one._id),
          () => {
            stop = true;
          },
        );
      }
    });
    await eventually(() => expect(acknowledged.length).toBeGreaterThan(100));
    await own.kill();
    await Promise.all(writers);
    await own.start();
    await eventually(() => expect(events.available()).toBe(true), { timeoutMs: BACK_MS });
    const there = new Set<string>();
    for await (const batch of events.batches(500)) for (const { _id } of batch) there.add(_id);
    expect(acknowledged.filter((id) => !there.has(id))).toEqual([]);
  });

  it("is used again also when the driver has stopped its checks of the server", async () => {
    const where = place(own);
    const { events } = await open(where);
    await events.insert(event(1));
    await own.kill();
    await eventually(() => expect(events.available()).toBe(false));
    const { client, release } = shareClient(where.mongoUrl, SILENT as never);
    for (const { monitor } of serversOf(client)) monitor.close();
    await own.start();
    await eventually(async () => expect(await events.get("m1")).toEqual(event(1)), {
      timeoutMs: RESTARTED_MS,
    });
    await release();
  });

  it("or without answers, is left after the time of a read, and used again later", async () => {
    const wire = await hangingWire(own.port);
    const where = { mongoUrl: `mongodb://127.0.0.1:${wire.port}/`, database: "hanging" };
    const { events } = await open(where);
    await events.insert(event(1));
    wire.hang(true);
    const { error, ms } = await timed(events.get("m1"));
    expect(error).toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    expect(ms).toBeLessThan(READ_MS);
    expect(events.available()).toBe(false);
    await eventually(async () => {
      const { ms } = await timed(events.get("m1"));
      expect(ms).toBeLessThan(READ_MS);
      expect(events.available()).toBe(false);
    });
    wire.hang(false);
    await eventually(async () => expect(await events.get("m1")).toEqual(event(1)), { timeoutMs: BACK_MS });
    await opened.pop()?.broker.stop();
    await wire.close();
  });
});

/** The driver's own objects: it has no option that stops its checks. */
function serversOf(client: MongoClient): Iterable<{ monitor: { close(): void } }> {
  const { topology } = client as unknown as {
    topology: { s: { servers: Map<string, { monitor: { close(): void } }> } };
  };
  return topology.s.servers.values();
}

/** A wire to a server that can go quiet without a word: what comes in while it hangs comes out afterwards. */
async function hangingWire(to: number) {
  const sockets = new Set<Socket>();
  let hanging = false;
  const wire = createServer((near) => {
    const far = connect(to, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", nothing);
      socket.on("close", () => sockets.delete(socket));
      if (hanging) socket.pause();
    }
    near.on("data", (data) => far.write(data)).on("close", () => far.destroy());
    far.on("data", (data) => near.write(data)).on("close", () => near.destroy());
  });
  const port = await freePort();
  await new Promise<void>((resolve) => wire.listen(port, "127.0.0.1", resolve));
  return {
    port,
    hang(now: boolean) {
      hanging = now;
      for (const socket of sockets) now ? socket.pause() : socket.resume();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => wire.close(resolve));
    },
  };
}
