import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { Client } from "minio";
import { ServiceBroker } from "moleculer";
import sharp from "sharp";
import { newId } from "../../lib/ids.ts";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { storageConformance } from "../../providers/storage/conformance.ts";
import { openStorage, type Storage } from "../../providers/storage/index.ts";
import { mediaService } from "../../services/media/media.service.ts";
import { type MinioServer, startMinio } from "../servers/minio.ts";
import { eventually } from "../support/eventually.ts";
import { startIdentity } from "../support/identity.ts";

let minio: MinioServer;
beforeAll(async () => {
  minio = await startMinio();
});
afterAll(() => minio.remove());

const open: Storage[] = [];
afterEach(() => {
  for (const storage of open.splice(0)) storage.close();
});

function settingsOf() {
  return {
    S3_ENDPOINT: minio.url,
    S3_REGION: "us-east-1",
    S3_BUCKET: `waybill-${newId()}`,
    S3_ACCESS_KEY: minio.accessKey,
    S3_SECRET_KEY: minio.secretKey,
  };
}

function storageOf(change: Partial<Parameters<typeof openStorage>[0]> = {}): Storage {
  const storage = openStorage({ DATA_DIR: "/nowhere", ...settingsOf(), ...change });
  open.push(storage);
  return storage;
}

function admin(): Client {
  return new Client({
    endPoint: "127.0.0.1",
    port: Number(new URL(minio.url).port),
    useSSL: false,
    accessKey: minio.accessKey,
    secretKey: minio.secretKey,
  });
}

async function failureOf(work: Promise<unknown>): Promise<Error & { kind?: string }> {
  return await work.then(
    () => {
      throw new Error("it did not fail");
    },
    (error) => error,
  );
}

describe("storage on MinIO", () => {
  storageConformance(async () => {
    const storage = storageOf();
    open.length = 0;
    return { storage, stop: async () => undefined };
  });

  it("open, without the bucket, creates it, also twice at once", async () => {
    const S3_BUCKET = `waybill-${newId()}`;
    await Promise.all([storageOf({ S3_BUCKET }).open(), storageOf({ S3_BUCKET }).open()]);
    expect(await admin().bucketExists(S3_BUCKET)).toBe(true);
  });

  it("put, with a type, makes the server return the type, and the object private", async () => {
    const S3_BUCKET = `waybill-${newId()}`;
    await storageOf({ S3_BUCKET }).put("avatars/a.webp", Buffer.from("x"), "image/webp");
    expect((await admin().statObject(S3_BUCKET, "avatars/a.webp")).metaData).toMatchObject({
      "content-type": "image/webp",
      "cache-control": "private, no-cache",
    });
  });

  it("put, after a removal of the bucket, creates it again", async () => {
    const S3_BUCKET = `waybill-${newId()}`;
    const storage = storageOf({ S3_BUCKET });
    await storage.open();
    await admin().removeBucket(S3_BUCKET);
    await storage.put("a/b", Buffer.from("x"));
    expect((await storage.get("a/b"))?.toString()).toBe("x");
  });

  it.each([
    ["S3_SECRET_KEY", "not-the-secret-of-the-tests"],
    ["S3_ACCESS_KEY", "not-the-key-of-the-tests"],
    ["S3_SECRET_KEY", undefined],
    ["S3_ACCESS_KEY", undefined],
  ])("open, with a wrong %s (%s), names the setting and not its value", async (name, value) => {
    const error = await failureOf(storageOf({ [name]: value }).open());
    expect(error).toMatchObject({ kind: "misconfigured" });
    expect(error.message).toContain(name);
    if (value) expect(`${error.message} ${error.stack}`).not.toContain(value);
    expect(await storageOf({ [name]: value }).ready()).toBe(false);
  });

  it("open, with another region than the server's, names the mistake", async () => {
    const error = await failureOf(storageOf({ S3_REGION: "eu-central-1" }).open());
    expect(error).toMatchObject({ kind: "misconfigured", message: expect.stringContaining("S3_REGION") });
  });

  it.each([
    ["killed", () => minio.kill(), () => minio.start()],
    ["frozen", async () => minio.freeze(), async () => minio.thaw()],
  ])(
    "with the server %s, is unavailable in bounded time, and has all objects after its return",
    async (_, lose, back) => {
      const storage = storageOf();
      await storage.put("a/b", Buffer.from("kept"));
      await lose();
      try {
        for (const work of [
          () => storage.put("a/c", Buffer.from("x")),
          () => storage.get("a/b"),
          () => storage.delete("a/b"),
          () => storageOf().open(),
        ]) {
          const startedMs = performance.now();
          expect(await failureOf(work())).toMatchObject({ kind: "unavailable" });
          expect(performance.now() - startedMs).toBeLessThan(1_800);
        }
        expect(await storage.ready()).toBe(false);
      } finally {
        await back();
      }
      await eventually(async () => expect((await storage.get("a/b"))?.toString()).toBe("kept"));
      await eventually(async () => expect(await storage.ready()).toBe(true));
    },
  );
});

describe("media on MinIO", () => {
  it("without the store, answers 503 for pictures, and all other requests as usual", async () => {
    const { S3_BUCKET, ...keys } = settingsOf();
    const bench = await startIdentity({ settings: { ...keys, S3_BUCKET } });
    try {
      const { meta } = await bench.customer();
      const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
        .png()
        .toBuffer();
      const base64 = png.toString("base64");
      const { etag } = await bench.ask("media.putAvatar", { base64 }, meta);
      expect(await admin().bucketExists(S3_BUCKET)).toBe(true);
      expect(await bench.ask("media.getAvatar", {}, meta)).toMatchObject({ etag, contentType: "image/webp" });
      await minio.kill();
      try {
        const startedMs = performance.now();
        const gone = { type: "SERVICE_UNAVAILABLE", code: 503 };
        await expect(bench.ask("media.getAvatar", {}, meta)).rejects.toMatchObject(gone);
        await expect(bench.ask("media.putAvatar", { base64 }, meta)).rejects.toMatchObject(gone);
        await expect(bench.ask("media.deleteAvatar", {}, meta)).rejects.toMatchObject(gone);
        expect(performance.now() - startedMs).toBeLessThan(2_000);
        expect(await bench.ask("identity.profile", {}, meta)).toMatchObject({ firstName: "Grete" });
      } finally {
        await minio.start();
      }
      await eventually(async () => {
        expect(await bench.ask("media.getAvatar", {}, meta)).toMatchObject({ etag });
      });
    } finally {
      await bench.stop();
    }
  });

  it("without the store, starts; with keys that never work, does not", async () => {
    const start = async (change: Partial<Settings>) => {
      const broker = new ServiceBroker({ logger: false, skipProcessEventRegistration: true });
      broker.createService(
        mediaService({ config: { ...readSettings({}), ...settingsOf(), ...change } as Settings }),
      );
      await broker.start().finally(() => broker.stop());
    };
    await start({ S3_ENDPOINT: "http://127.0.0.1:1" });
    await expect(start({ S3_SECRET_KEY: "not-the-secret-of-the-tests" })).rejects.toThrow(
      "S3_SECRET_KEY does not belong to S3_ACCESS_KEY",
    );
  });
});
