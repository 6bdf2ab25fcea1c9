import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import {
  type Documents,
  type DocumentsOptions,
  documents,
  rebuildsOf,
  type StoreLocation,
} from "../../mixins/documents/documents.mixin.ts";
import { reconcile } from "../../mixins/documents/reconcile.ts";

export interface Event {
  _id: string;
  orderId: string;
  version: number;
  note?: string | undefined;
  lines?: { title: string; quantity: number }[];
}

export const eventOptions = {
  collection: "events",
  indexes: [["orderId", "-version"]],
  version: "version",
} as const satisfies DocumentsOptions<Event>;

/** Starts a service that holds a collection and nothing else. */
export async function openEvents(place: StoreLocation, change: Partial<DocumentsOptions<Event>> = {}) {
  const events = documents<Event>({ ...eventOptions, ...place, ...change });
  const broker = new ServiceBroker({ nodeID: newId(), logger: false, skipProcessEventRegistration: true });
  broker.createService({ name: "holder", mixins: [events.mixin] });
  await broker.start();
  return { events, broker };
}

/**
 * The behaviour of every document store; `place` makes an empty one.
 * @param race false for a server that reads and writes in two steps, as FerretDB 1 does: MongoDB replaces atomically
 */
export function documentsContract(
  name: string,
  place: () => StoreLocation | Promise<StoreLocation>,
  { race = true } = {},
): void {
  describe(`the documents of ${name}`, () => {
    let events: Documents<Event>;
    let broker: ServiceBroker;
    beforeEach(async () => {
      ({ events, broker } = await openEvents(await place()));
    });
    afterEach(() => broker.stop());

    it("inserted twice under one id, keep the first and report no error", async () => {
      await events.insert({ _id: "m1", orderId: "o1", version: 1 });
      await events.insert({ _id: "m1", orderId: "o1", version: 99 });
      expect(await events.find({ query: { orderId: "o1" } })).toEqual([
        { _id: "m1", orderId: "o1", version: 1 },
      ]);
    });

    it("inserted together, are stored although some of them are known", async () => {
      await events.insert({ _id: "m2", orderId: "o1", version: 2 });
      await events.insert(
        ...[1, 2, 3].map((version) => ({ _id: `m${version}`, orderId: "o1", version, note: "second" })),
      );
      await events.insert();
      const found = await events.find({ sort: ["_id"] });
      expect(found.map(({ _id, note }) => [_id, note])).toEqual([
        ["m1", "second"],
        ["m2", undefined],
        ["m3", "second"],
      ]);
    });

    it("put under an id that is known, take the place of the older one, and nothing of it stays", async () => {
      await events.put({ _id: "m1", orderId: "o1", version: 1, note: "goes" });
      await events.put({ _id: "m1", orderId: "o1", version: 2 });
      expect(await events.get("m1")).toStrictEqual({ _id: "m1", orderId: "o1", version: 2 });
    });

    it("put although a newer version is there, leave it; put again in the same version, are there", async () => {
      await events.put({ _id: "m1", orderId: "o1", version: 5, note: "new" });
      await events.put({ _id: "m1", orderId: "o1", version: 4, note: "old" });
      expect(await events.get("m1")).toMatchObject({ version: 5, note: "new" });
      await events.put({ _id: "m1", orderId: "o1", version: 5, note: "again" });
      expect(await events.get("m1")).toMatchObject({ version: 5, note: "again" });
      expect(await events.count()).toBe(1);
    });

    if (race) {
      it("put at the same moment in many versions, end as the newest one", async () => {
        const versions = Array.from({ length: 20 }, (_, i) => ((i * 7) % 20) + 1);
        await Promise.all(versions.map((version) => events.put({ _id: "m1", orderId: "o1", version })));
        expect(await events.find({})).toEqual([{ _id: "m1", orderId: "o1", version: 20 }]);
      });
    }

    it("are found by comparison, in the order asked for, up to the limit", async () => {
      for (const version of [3, 1, 2]) await events.insert({ _id: `m${version}`, orderId: "o1", version });
      await events.insert({ _id: "other", orderId: "o2", version: 9 });
      const query = { orderId: "o1", version: { $gte: 2 } };
      const found = await events.find({ query, sort: ["-version"], limit: 1 });
      expect(found.map(({ _id }) => _id)).toEqual(["m3"]);
      expect(
        (await events.find({ query: { _id: { $lt: "m3" } }, sort: ["-_id"] })).map(({ _id }) => _id),
      ).toEqual(["m2", "m1"]);
      expect(await events.count({ orderId: "o1" })).toBe(3);
      expect(await events.remove({ _id: { $in: ["m1", "m2", "nobody"] } })).toBe(2);
      expect(await events.remove({ orderId: "o1" })).toBe(1);
      expect(await events.count()).toBe(1);
    });

    it("are read as they were written: ids as strings, absent fields absent, nested ones in their order", async () => {
      const id = "0123456789abcdef01234567"; // what an ObjectId looks like
      const lines = [
        { title: "Brot 🥖", quantity: 2 },
        { title: "", quantity: 0 },
      ];
      await events.insert({ _id: id, orderId: "o1", version: 1, note: undefined, lines });
      const found = await events.get(id);
      expect(found).toStrictEqual({ _id: id, orderId: "o1", version: 1, lines });
      expect(typeof found?._id).toBe("string");
      expect(await events.get("0123456789abcdef01234568")).toBeUndefined();
      expect(await events.remove({ _id: id })).toBe(1);
    });

    it("are read in batches, each once", async () => {
      await events.insert(
        ...Array.from({ length: 25 }, (_, i) => ({ _id: `m${i}`, orderId: "o1", version: i })),
      );
      const sizes: number[] = [];
      const ids = new Set<string>();
      for await (const batch of events.batches(10)) {
        sizes.push(batch.length);
        for (const { _id } of batch) ids.add(_id);
      }
      expect(sizes).toEqual([10, 10, 5]);
      expect(ids.size).toBe(25);
    });

    it("become those of the tables: wrong ones are corrected, unknown ones removed, missing ones added", async () => {
      const right = Array.from({ length: 12 }, (_, i) => ({ _id: `m${i}`, orderId: "o1", version: i }));
      await events.insert({ _id: "m3", orderId: "wrong", version: 3, note: "stray" });
      await events.insert({ _id: "unknown", orderId: "o9", version: 1 });
      await events.insert({ _id: "m5", orderId: "o1", version: 5 });
      const truth = {
        of: async (found: readonly Event[]) =>
          right.filter(({ _id }) => found.some((document) => document._id === _id)),
        async *all() {
          yield right.slice(0, 10);
          yield right.slice(10);
        },
      };
      expect(await reconcile(events, truth)).toBe(12);
      const byVersion = async () => await events.find({ sort: ["version"] });
      expect(await byVersion()).toEqual(right);
      expect(await reconcile(events, truth)).toBe(12);
      expect(await byVersion()).toEqual(right);
    });

    it("of rows that were deleted between the read and the write, are not inserted again", async () => {
      const person: Event[] = [{ _id: "m1", orderId: "o1", version: 1 }];
      const truth = {
        of: async (found: readonly Event[]) =>
          person.filter(({ _id }) => found.some((one) => one._id === _id)),
        async *all() {
          const read = [...person];
          person.pop();
          await events.remove({ _id: "m1" });
          yield read;
        },
      };
      await reconcile(events, truth);
      expect(await events.count()).toBe(0);
    });

    it("are offered by no action, and unavailable when their service has stopped", async () => {
      expect(broker.registry.actions.list({ onlyLocal: true, skipInternal: true })).toEqual([]);
      expect([events.ready(), events.available()]).toEqual([true, true]);
      await broker.stop();
      expect([events.ready(), events.available()]).toEqual([false, false]);
      await expect(events.find({})).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE", code: 503 });
    });

    it("are made anew by the name of their collection while it is open", async () => {
      const rebuild = async () => 7;
      const other = await openEvents(await place(), { rebuild });
      expect(rebuildsOf(other.broker).get("events")).toBe(rebuild);
      await other.broker.stop();
      expect(rebuildsOf(other.broker).size).toBe(0);
    });
  });
}
