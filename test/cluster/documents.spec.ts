import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import type { CommandStartedEvent, MongoClient } from "mongodb";
import { newId } from "../../lib/ids.ts";
import type { StoreLocation } from "../../mixins/documents/documents.mixin.ts";
import { shareClient } from "../../mixins/documents/mongo-client.ts";
import { ensureIndexes } from "../../mixins/documents/mongo-indexes.ts";
import { type Ferretdb, startFerretdb } from "../servers/ferretdb.ts";
import { documentsContract, type Event, eventOptions, openEvents } from "../support/documents-contract.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing };
function nothing() {}

const event = (version: number): Event => ({ _id: `m${version}`, orderId: "o1", version });
const place = (server: Ferretdb): Required<Pick<StoreLocation, "database">> & { mongoUrl: string } => ({
  mongoUrl: server.url,
  database: `t${newId().replaceAll("-", "")}`,
});

let server: Ferretdb;
beforeAll(async () => {
  server = await startFerretdb();
});
afterAll(() => server.stop());

documentsContract("MongoDB's protocol", () => place(server), { race: false });

describe("documents in MongoDB", () => {
  it("are tested on a server that reports its version", () => {
    expect(server.version).toMatch(/^FerretDB v1\.24\.0 \(MongoDB 7\./);
  });

  let opened: Awaited<ReturnType<typeof openEvents>>[] = [];
  const open = async (where: StoreLocation, change: Parameters<typeof openEvents>[1] = {}) => {
    const one = await openEvents(where, change);
    opened.push(one);
    return one;
  };
  afterEach(async () => {
    for (const { broker } of opened) await broker.stop();
    opened = [];
  });

  it("are written and read with the majority's concerns", async () => {
    const where = { ...place(server), mongoUrl: `${server.url}?monitorCommands=true` };
    const { client, release } = shareClient(where.mongoUrl, SILENT as never);
    const commands: CommandStartedEvent[] = [];
    client.on("commandStarted", (command) => commands.push(command));
    const { events } = await open(where);
    await events.insert(event(1), event(2));
    await events.put(event(3));
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

  it("have their indexes from the start; different and unknown ones are reported and left", async () => {
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

  it("share the connections of the process, which close with the last collection", async () => {
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

  it("without a MongoDB, load no driver", () => {
    const script = `
      import { createRequire } from "node:module";
      import { ServiceBroker } from "moleculer";
      import { documents } from "./mixins/documents/documents.mixin.ts";
      const events = documents({ collection: "events", postgres: { url: "postgres://127.0.0.1:1/none", acquireTimeoutMs: 1 } });
      const broker = new ServiceBroker({ logger: false });
      broker.createService({ name: "holder", mixins: [events.mixin] });
      await broker.start();
      await broker.stop();
      const { cache } = createRequire(process.cwd() + "/package.json");
      console.log(Object.keys(cache).filter((path) => path.includes("/mongodb/")).length);`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(stdout.trim()).toBe("0");
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
  it("uses the driver that the platform pins, not its own", () => {
    const require = createRequire(import.meta.url);
    const own = createRequire(require.resolve("moleculer-db-adapter-mongo"));
    expect(own.resolve("mongodb")).toBe(require.resolve("mongodb"));
    const { version } = require("mongodb/package.json") as { version: string };
    expect(Number(version.split(".")[0])).toBeGreaterThanOrEqual(7);
    expect((require("mongodb") as { MongoClient: MongoClient }).MongoClient).toBeDefined();
  });
});
