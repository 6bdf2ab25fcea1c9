import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import type { Storage } from "./port.ts";

export interface StorageHarness {
  storage: Storage;
  stop(): Promise<void>;
}

/** The conformance suite of every store. Call it inside a `describe`. */
export function storageConformance(start: () => Promise<StorageHarness>): void {
  let harness: StorageHarness;
  let storage: Storage;
  beforeAll(async () => {
    harness = await start();
    storage = harness.storage;
  });
  afterAll(async () => {
    storage.close();
    await harness.stop();
  });
  const freshKey = () => `things/${newId()}.bin`;

  it("get, of a stored object, returns the same bytes", async () => {
    const [key, bytes] = [freshKey(), randomBytes(300_000)];
    await storage.put(key, bytes);
    expect((await storage.get(key))?.equals(bytes)).toBe(true);
  });

  it("get, of a missing object, returns undefined", async () => {
    await expect(storage.get(freshKey())).resolves.toBeUndefined();
    await expect(storage.get(`${newId()}/nowhere/at-all.bin`)).resolves.toBeUndefined();
  });

  it("put, of an empty object, stores it", async () => {
    const key = freshKey();
    await storage.put(key, new Uint8Array());
    expect((await storage.get(key))?.length).toBe(0);
  });

  it("put, of an existing key, replaces the object", async () => {
    const key = freshKey();
    await storage.put(key, Buffer.from("a longer first version"));
    await storage.put(key, Buffer.from("second"));
    expect((await storage.get(key))?.toString()).toBe("second");
  });

  it("put, of many versions at once, always shows readers one whole version", async () => {
    const key = freshKey();
    const versions = Array.from({ length: 12 }, (_, index) => Buffer.alloc(50_000, index + 1));
    await storage.put(key, versions[0] as Buffer);
    const reads = async () => {
      for (let index = 0; index < 20; index++) {
        const seen = (await storage.get(key)) as Buffer;
        expect(seen.length).toBe(50_000);
        expect(seen.every((byte) => byte === seen[0])).toBe(true);
      }
    };
    await Promise.all([...versions.map((bytes) => storage.put(key, bytes)), reads()]);
  });

  it("delete, repeated, succeeds and leaves nothing", async () => {
    const key = freshKey();
    await storage.put(key, Buffer.from("x"));
    await storage.delete(key);
    await storage.delete(key);
    await expect(storage.get(key)).resolves.toBeUndefined();
  });

  it.each([
    "",
    "/etc/passwd",
    "../secret",
    "a/../../b",
    "a//b",
    "a/./b",
    "a/.hidden",
    ".incoming/x",
    "a\\b",
    "a\u0000b",
    "a/b/",
    "Upper/case",
    "a/b..c",
    "ä/b",
    "a b",
    "x".repeat(200),
    `${"abc/".repeat(100)}x`,
  ])("refuses the key %j with invalid_key", async (key) => {
    const refusal = { kind: "invalid_key" };
    await expect(storage.put(key, Buffer.from("x"))).rejects.toMatchObject(refusal);
    await expect(storage.get(key)).rejects.toMatchObject(refusal);
    await expect(storage.delete(key)).rejects.toMatchObject(refusal);
  });

  it("open, repeated and after the first use, succeeds", async () => {
    const key = freshKey();
    await storage.put(key, Buffer.from("x"), "text/plain");
    await Promise.all([storage.open(), storage.open()]);
    expect((await storage.get(key))?.toString()).toBe("x");
  });

  it("put, of several megabytes, stores them", async () => {
    const [key, bytes] = [freshKey(), randomBytes(6_000_000)];
    await storage.put(key, bytes);
    expect((await storage.get(key))?.equals(bytes)).toBe(true);
  });

  it("list returns the first keys below a prefix in order, and no others", async () => {
    const prefix = `${freshKey()}/`;
    const inside = ["a/1.webp", "a/2.webp", "b/1.webp", "c.webp"].map((name) => prefix + name);
    const others = [`${prefix.slice(0, -1)}x/1.webp`];
    await Promise.all([...inside, ...others].map((key) => storage.put(key, Buffer.from("x"))));
    await expect(storage.list(prefix, 10)).resolves.toEqual(inside);
    await expect(storage.list(prefix, 2)).resolves.toEqual(inside.slice(0, 2));
    await storage.delete(`${prefix}a/1.webp`);
    await storage.delete(`${prefix}a/2.webp`);
    await expect(storage.list(prefix, 10)).resolves.toEqual(inside.slice(2));
    await expect(storage.list(`${freshKey()}/`, 10)).resolves.toEqual([]);
    await expect(storage.list("../", 10)).rejects.toMatchObject({ kind: "invalid_key" });
  });

  it("put, while the last other object of its folder is deleted, stores the object", async () => {
    const prefix = freshKey();
    for (let n = 0; n < 20; n++) {
      await storage.put(`${prefix}/old`, Buffer.from("x"));
      await Promise.all([storage.delete(`${prefix}/old`), storage.put(`${prefix}/new`, Buffer.from("y"))]);
      expect((await storage.get(`${prefix}/new`))?.toString()).toBe("y");
      await storage.delete(`${prefix}/new`);
    }
  });

  it("delete, of one object, leaves the others", async () => {
    const [key, other] = [freshKey(), freshKey()];
    await Promise.all([storage.put(key, Buffer.from("1")), storage.put(other, Buffer.from("2"))]);
    await storage.delete(key);
    expect((await storage.get(other))?.toString()).toBe("2");
  });

  it("ready, while the store works, is true", async () => {
    await expect(storage.ready()).resolves.toBe(true);
  });
}
