import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import sharp from "sharp";
import { type Client, connect } from "../e2e/client.ts";
import { customer, type Person } from "../e2e/world.ts";
import { type MinioServer, startMinio } from "../servers/minio.ts";
import { eventually } from "../support/eventually.ts";
import { type StartedPlatform, startPlatform } from "../support/platform.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

const START_MS = 60_000;
const ANSWERED_WITHIN_MS = 2_000;
const BACK_WITHIN_MS = 10_000;
const names = ["orders", "partners", "notifications", "identity"] as const;

const folder = mkdtempSync(join(tmpdir(), "waybill-storage-platform-"));
let databases: TestDatabase[] = [];
let minio: MinioServer;
let there: StartedPlatform;
let api: Client;
let me: Person;
let image: Buffer;

beforeAll(async () => {
  minio = await startMinio();
  databases = await Promise.all(names.map((name) => createDatabase(name)));
  there = await startPlatform(join(folder, "data"), {
    ...Object.fromEntries(
      names.map((name, index) => [`POSTGRES_URL_${name.toUpperCase()}`, databases[index]?.url ?? ""]),
    ),
    S3_ENDPOINT: minio.url,
    S3_BUCKET: "waybill-pictures",
    S3_ACCESS_KEY: minio.accessKey,
    S3_SECRET_KEY: minio.secretKey,
  });
  api = await connect(async () => there);
  me = await customer(api);
  image = await sharp({ create: { width: 20, height: 20, channels: 3, background: "teal" } })
    .png()
    .toBuffer();
}, START_MS);
afterAll(async () => {
  await there?.end("SIGTERM");
  await minio?.remove();
  await Promise.all(databases.map((database) => database.drop()));
  rmSync(folder, { recursive: true, force: true });
});

const avatar = () => api.request("GET /me/avatar", { token: me.token });

describe("the platform with pictures in a bucket", () => {
  it("stores an avatar there and serves it", async () => {
    await api.ok("PUT /me/avatar", { token: me.token, image });
    const { status, headers, bytes } = await avatar();
    expect([status, headers.get("content-type")]).toEqual([200, "image/webp"]);
    expect((await sharp(bytes).metadata()).format).toBe("webp");
  });

  it.each([
    ["killed", () => minio.kill(), () => minio.start()],
    ["frozen", async () => minio.freeze(), async () => minio.thaw()],
  ])(
    "with the store %s, answers 503 for pictures in time, and all other requests as usual",
    async (_, lose, back) => {
      const { bytes } = await avatar();
      await lose();
      try {
        for (const ask of [
          avatar,
          () => api.request("PUT /me/avatar", { token: me.token, image }),
          () => api.request("DELETE /me/avatar", { token: me.token }),
        ]) {
          const startedMs = performance.now();
          const { status, headers } = await ask();
          expect(performance.now() - startedMs).toBeLessThan(ANSWERED_WITHIN_MS);
          expect([status, headers.has("retry-after")]).toEqual([503, true]);
        }
        expect((await api.request("GET /me", { token: me.token })).status).toBe(200);
        expect((await fetch(`${there.opsUrl}/readyz`)).status).toBe(200);
      } finally {
        await back();
      }
      await eventually(async () => expect((await avatar()).bytes.equals(bytes)).toBe(true), {
        timeoutMs: BACK_WITHIN_MS,
      });
    },
  );

  it("with a wrong secret, does not start, and names the setting without its value", async () => {
    const value = "not-the-secret-of-the-tests";
    const start = startPlatform(join(folder, "other"), {
      ...Object.fromEntries(
        names.map((name, index) => [`POSTGRES_URL_${name.toUpperCase()}`, databases[index]?.url ?? ""]),
      ),
      S3_ENDPOINT: minio.url,
      S3_ACCESS_KEY: minio.accessKey,
      S3_SECRET_KEY: value,
    });
    const message = await start.then(
      () => "it started",
      (error: Error) => error.message,
    );
    expect(message).toContain("S3_SECRET_KEY does not belong to S3_ACCESS_KEY");
    expect(message).not.toContain(value);
  });
});
