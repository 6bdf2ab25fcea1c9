import { mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { storageConformance } from "../../providers/storage/conformance.ts";
import { folderStorage } from "../../providers/storage/index.ts";

const freshFolder = () => mkdtemp(join(tmpdir(), "waybill storage "));

describe("storage in a folder", () => {
  storageConformance(async () => {
    const folder = await freshFolder();
    return {
      storage: folderStorage(join(folder, "not made yet")),
      stop: () => rm(folder, { recursive: true }),
    };
  });

  it("files are readable by their owner only, and no incomplete file stays", async () => {
    const folder = await freshFolder();
    await folderStorage(folder).put("avatars/a.webp", Buffer.from("x"));
    expect((await stat(join(folder, "avatars/a.webp"))).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, "avatars"))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(folder, ".incoming"))).toEqual([]);
    await rm(folder, { recursive: true });
  });

  it("incomplete files of a process killed long ago are removed, recent ones are not", async () => {
    const folder = await freshFolder();
    await folderStorage(folder).put("a/b", Buffer.from("x"));
    const [old, young] = ["old", "young"].map((name) => join(folder, ".incoming", name)) as [string, string];
    await Promise.all([writeFile(old, "x"), writeFile(young, "x")]);
    await utimes(old, new Date(0), new Date(0));
    await folderStorage(folder).put("a/b", Buffer.from("y"));
    expect(await readdir(join(folder, ".incoming"))).toEqual(["young"]);
    await rm(folder, { recursive: true });
  });

  it("an unusable folder is unavailable, and ready is false", async () => {
    const folder = await freshFolder();
    const file = join(folder, "file");
    await writeFile(file, "x");
    const storage = folderStorage(join(file, "below a file"));
    await expect(storage.put("a/b", Buffer.from("x"))).rejects.toMatchObject({ kind: "unavailable" });
    await expect(storage.ready()).resolves.toBe(false);
    await rm(folder, { recursive: true });
  });
});
