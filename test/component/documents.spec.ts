import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { documents, rebuildsOf } from "../../mixins/documents/documents.mixin.ts";
import { fileStore } from "../../mixins/documents/file-store.ts";

interface Event {
  _id: string;
  orderId: string;
  version: number;
  note?: string;
}

let dir: string;
let broker: ServiceBroker;
const open = async () => {
  const events = documents<Event>({ collection: "events", dir, indexes: ["orderId"] });
  broker = new ServiceBroker({ logger: false });
  broker.createService({ name: "holder", mixins: [events.mixin] });
  await broker.start();
  return events;
};

beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), "documents ")), "inner");
});
afterEach(async () => {
  await broker.stop();
  rmSync(dir, { recursive: true, force: true });
});

describe("documents", () => {
  it("inserted twice under one id, keep the first and report no error", async () => {
    const events = await open();
    await events.insert({ _id: "m1", orderId: "o1", version: 1 });
    await events.insert({ _id: "m1", orderId: "o1", version: 99 });
    expect(await events.find({ query: { orderId: "o1" } })).toEqual([
      { _id: "m1", orderId: "o1", version: 1 },
    ]);
  });

  it("put twice under one id, hold the newer fields", async () => {
    const events = await open();
    await events.put({ _id: "m1", orderId: "o1", version: 1, note: "stays" });
    await events.put({ _id: "m1", orderId: "o1", version: 2 });
    expect(await events.get("m1")).toEqual({ _id: "m1", orderId: "o1", version: 2, note: "stays" });
  });

  it("are found by comparison, in the order asked for, up to the limit", async () => {
    const events = await open();
    for (const version of [3, 1, 2]) await events.insert({ _id: `m${version}`, orderId: "o1", version });
    await events.insert({ _id: "other", orderId: "o2", version: 9 });
    const found = await events.find({
      query: { orderId: "o1", version: { $gte: 2 } },
      sort: ["-version"],
      limit: 1,
    });
    expect(found.map(({ _id }) => _id)).toEqual(["m3"]);
    expect(await events.count({ orderId: "o1" })).toBe(3);
    expect(await events.remove({ orderId: "o1" })).toBe(3);
    expect(await events.count()).toBe(1);
  });

  it("outlive the service in a file that only its owner reads, a torn last line notwithstanding", async () => {
    const events = await open();
    await events.insert({ _id: "m1", orderId: "o1", version: 1 });
    await broker.stop();
    const file = join(dir, "events.db");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    appendFileSync(file, '{"_id":"m2","orderId":"o');
    const again = await open();
    expect(await again.find({})).toEqual([{ _id: "m1", orderId: "o1", version: 1 }]);
  });

  it("are made anew by the name of their collection while it is open", async () => {
    let events: ReturnType<typeof documents<Event>>;
    events = documents<Event>({
      collection: "events",
      rebuild: async () => {
        await events.clear();
        await events.insert({ _id: "m1", orderId: "o1", version: 1 });
        return await events.count();
      },
    });
    broker = new ServiceBroker({ logger: false });
    broker.createService({ name: "holder", mixins: [events.mixin] });
    await broker.start();
    await events.insert({ _id: "stray", orderId: "o9", version: 1 });
    expect(await rebuildsOf(broker).get("events")?.()).toBe(1);
    expect(await events.get("stray")).toBeUndefined();
    await broker.stop();
    expect(rebuildsOf(broker).size).toBe(0);
  });

  it("that change often do not let their file grow without end", async () => {
    await open();
    const store = fileStore("busy", dir, [], 100);
    await store.connect();
    await store.insert({ _id: "m1", version: 0 });
    for (let version = 1; version <= 350; version++) {
      await store.updateById("m1", { $set: { version } });
    }
    await store.disconnect();
    const lines = readFileSync(join(dir, "busy.db"), "utf8").trim().split("\n");
    expect(lines.length).toBeLessThan(110);
    expect(lines.at(-1)).toContain('"version":350');
  });

  it("of a collection that is not open are unavailable, and no action offers them", async () => {
    const events = await open();
    const offered = broker.registry.actions.list({ onlyLocal: true, skipInternal: true });
    expect(offered).toEqual([]);
    await broker.stop();
    expect(events.ready()).toBe(false);
    await expect(events.find({})).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE", code: 503 });
  });
});
