import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { createServer, type Server, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import type { CommandStartedEvent, MongoClient } from "mongodb";
import { newId } from "../../lib/ids.ts";
import type { StorePlace } from "../../mixins/documents/documents.mixin.ts";
import { shareClient } from "../../mixins/documents/mongo-client.ts";
import { ensureIndexes } from "../../mixins/documents/mongo-indexes.ts";
import { freePort } from "../../platform/free-port.ts";
import { type Ferretdb, startFerretdb } from "../servers/ferretdb.ts";
import { documentsContract, type Event, eventOptions, openEvents } from "../support/documents-contract.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

/** What a request may spend on its document, in the promise that it is answered within two seconds. */
const READ_MS = 1_400;
const BACK_MS = 10_000;
const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing };
function nothing() {}

const event = (version: number): Event => ({ _id: `m${version}`, orderId: "o1", version });
const place = (server: Ferretdb): Required<Pick<StorePlace, "database">> & { mongoUrl: string } => ({
  mongoUrl: server.url,
  database: `t${newId().replaceAll("-", "")}`,
});

let server: Ferretdb;
beforeAll(async () => {
  server = await startFerretdb();
});
afterAll(() => server.stop());

documentsContract("MongoDB's protocol", () => place(server));

describe("documents in MongoDB", () => {
  it("are tested on a server that says what it is", () => {
    expect(server.version).toMatch(/^FerretDB v1\.24\.0 \(MongoDB 7\./);
  });

  let opened: Awaited<ReturnType<typeof openEvents>>[] = [];
  const open = async (where: StorePlace, change: Parameters<typeof openEvents>[1] = {}) => {
    const one = await openEvents(where, change);
    opened.push(one);
    return one;
  };
  afterEach(async () => {
    for (const { broker } of opened) await broker.stop();
    opened = [];
  });

  it("are written to the disks of the majority, each write, and read from there", async () => {
    const where = { ...place(server), mongoUrl: `${server.url}?monitorCommands=true` };
    const { client, release } = shareClient(where.mongoUrl, SILENT as never);
    const commands: CommandStartedEvent[] = [];
    client.on("commandStarted", (command) => commands.push(command));
    const { events } = await open(where);
    await events.insert(event(1), event(2));
    await events.put(event(3));
    await events.find({ query: { orderId: "o1" } });
    await events.get("m1");
    await events.count();
    await events.remove({ orderId: "o1" });
    for await (const _ of events.batches(10));
    await release();
    const of = (...names: string[]) => commands.filter(({ commandName }) => names.includes(commandName));
    const writes = of("insert", "update", "delete", "findAndModify", "createIndexes");
    expect([...new Set(writes.map(({ commandName }) => commandName))].sort()).toEqual([
      "createIndexes",
      "delete",
      "insert",
      "update",
    ]);
    for (const { command } of writes) {
      expect(command.writeConcern).toMatchObject({ w: "majority", j: true });
    }
    const reads = of("find", "aggregate", "count");
    expect(reads.length).toBeGreaterThanOrEqual(3);
    for (const { command } of reads) expect(command.readConcern).toEqual({ level: "majority" });
    expect(
      new Set(commands.map(({ databaseName }) => databaseName).filter((name) => name !== "admin")),
    ).toEqual(new Set([where.database]));
    expect(client.options).toMatchObject({ retryWrites: true, appName: "waybill" });
  });

  it("have their indexes from the start; those that differ and those of others are reported and left", async () => {
    const where = place(server);
    await open(where);
    const { client, release } = shareClient(where.mongoUrl, SILENT as never);
    const collection = client.db(where.database).collection("events");
    const names = async () => (await collection.indexes()).map(({ name, key }) => [name, key]);
    await eventually(async () =>
      expect(await names()).toContainEqual(["orderId_1_version_-1", { orderId: 1, version: -1 }]),
    );
    await collection.createIndex({ note: 1 }, { name: "by hand" });
    await collection.createIndex({ version: -1 }, { name: "version_1" });
    const warned: string[] = [];
    const logger = { ...SILENT, warn: (line: string) => warned.push(line) };
    const reports = await ensureIndexes(collection, [...eventOptions.indexes, ["version"]], logger as never);
    expect(reports).toEqual(warned);
    expect(reports).toEqual([
      expect.stringContaining("by hand"),
      expect.stringMatching(/version_1 is .*-1.* should be/),
    ]);
    expect(await names()).toHaveLength(4);
    await release();
  });

  it("share the process's connections, which end with the last collection", async () => {
    const where = place(server);
    const one = shareClient(where.mongoUrl, SILENT as never);
    const { broker } = await open(where);
    const other = shareClient(where.mongoUrl, SILENT as never);
    expect(other.client).toBe(one.client);
    await one.release();
    await one.release();
    await broker.stop();
    expect(await other.client.db(where.database).command({ ping: 1 })).toMatchObject({ ok: 1 });
    await other.release();
    const fresh = shareClient(where.mongoUrl, SILENT as never);
    expect(fresh.client).not.toBe(one.client);
    await fresh.release();
  });

  it("need no driver while there is no MongoDB", () => {
    const script = `
      import { createRequire } from "node:module";
      import { ServiceBroker } from "moleculer";
      import { documents } from "./mixins/documents/documents.mixin.ts";
      const events = documents({ collection: "events" });
      const broker = new ServiceBroker({ logger: false });
      broker.createService({ name: "holder", mixins: [events.mixin] });
      await broker.start();
      await events.insert({ _id: "m1" });
      await broker.stop();
      const { cache } = createRequire(process.cwd() + "/package.json");
      console.log(Object.keys(cache).filter((path) => path.includes("/mongodb/")).length);`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(stdout.trim()).toBe("0");
  });

  describe("that is away", () => {
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

    it("are answered SERVICE_UNAVAILABLE in time and without a word of what is inside, until it is back", async () => {
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

    it("does not keep a service from starting, and has its indexes once it is there", async () => {
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

    it("loses nothing that it has acknowledged when it is killed", async () => {
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

    it("or hangs, is left after the time of a read, and found again when it answers", async () => {
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
});

describe("documents in MongoDB's protocol on PostgreSQL", () => {
  let database: TestDatabase;
  let ferretdb: Ferretdb;
  beforeAll(async () => {
    database = await createDatabase("orders");
    ferretdb = await startFerretdb({ postgresUrl: database.url });
  });
  afterAll(async () => {
    await ferretdb.stop();
    await database.drop();
  });

  it("are written, replaced, found and removed", async () => {
    const { events, broker } = await openEvents(place(ferretdb));
    await events.insert(event(1), event(2));
    await events.insert(event(1), event(3));
    await events.put({ ...event(2), note: "newer" });
    expect(await events.find({ query: { orderId: "o1" }, sort: ["-version"] })).toEqual([
      event(3),
      { ...event(2), note: "newer" },
      event(1),
    ]);
    expect(await events.remove({ _id: { $in: ["m1", "m3"] } })).toBe(2);
    await broker.stop();
  });
});

describe("moleculer-db-adapter-mongo", () => {
  it("runs on the driver that the platform names, not on one of its own", () => {
    const require = createRequire(import.meta.url);
    const own = createRequire(require.resolve("moleculer-db-adapter-mongo"));
    expect(own.resolve("mongodb")).toBe(require.resolve("mongodb"));
    const { version } = require("mongodb/package.json") as { version: string };
    expect(Number(version.split(".")[0])).toBeGreaterThanOrEqual(7);
    expect((require("mongodb") as { MongoClient: MongoClient }).MongoClient).toBeDefined();
  });
});

/** A wire to a server that can go quiet without a word: what comes in while it hangs comes out afterwards. */
async function hangingWire(to: number) {
  const { connect } = await import("node:net");
  const sockets = new Set<Socket>();
  let hanging = false;
  const wire: Server = createServer((near) => {
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
