import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { readGauges } from "../../mixins/health/health.mixin.ts";
import { folderStorage } from "../../providers/storage/index.ts";
import { mediaService } from "../../services/media/media.service.ts";
import { eventually } from "../support/eventually.ts";

const DAY_MS = 86_400_000;
const folder = mkdtempSync(join(tmpdir(), "photos "));
const storage = folderStorage(folder);
const broker = new ServiceBroker({ logger: false, skipProcessEventRegistration: true });
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true });
});

const photoOf = (ageDays: number) => `proofs/${newId(Date.now() - ageDays * DAY_MS)}/${newId()}.webp`;
const young = [photoOf(1), photoOf(179)];
const avatar = `avatars/${newId(0)}.webp`;
beforeAll(async () => {
  const old = Array.from({ length: 201 }, (_, n) => photoOf(181 + n));
  for (const key of [...old, ...young, avatar]) await storage.put(key, Buffer.from("x"));
});

it("photos of deliveries, of orders beyond their retention time, are deleted, and no avatar", async () => {
  const config = readSettings({}, { checkRequired: false }) as Settings;
  broker.createService(mediaService({ config, storage }));
  await broker.start();
  await eventually(async () => expect(await storage.list("proofs/", 10)).toEqual([...young].sort()));
  expect(await storage.list("avatars/", 10)).toEqual([avatar]);
  // The figures are those of the end of the run.
  await eventually(async () => {
    const figures = new Map((await readGauges(broker)).map((one) => [one.name, one.figures]));
    expect(figures.get("retention_rows_total")).toEqual({ photos: 201 });
    const { photos = 0 } = figures.get("retention_oldest_age_seconds") as Record<string, number>;
    expect(Math.round(photos / 86_400)).toBe(179);
  });
});
