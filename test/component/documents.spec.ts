import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { fileStore } from "../../mixins/documents/file-store.ts";
import { documentsContract, openEvents } from "../support/documents-contract.ts";

let dir: string;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), "documents ")), "inner");
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

documentsContract("files", () => ({ dir }));
documentsContract("memory", () => ({}));

describe("documents in files", () => {
  it("outlive the service in a file that only its owner reads, a torn last line notwithstanding", async () => {
    const { events, broker } = await openEvents({ dir });
    await events.insert({ _id: "m1", orderId: "o1", version: 1 });
    await broker.stop();
    const file = join(dir, "events.db");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    appendFileSync(file, '{"_id":"m2","orderId":"o');
    const again = await openEvents({ dir });
    expect(await again.events.find({})).toEqual([{ _id: "m1", orderId: "o1", version: 1 }]);
    await again.broker.stop();
  });

  it("that change often do not let their file grow without end", async () => {
    const store = fileStore({ collection: "busy", dir, compactAfterChanges: 100 });
    await store.connect();
    for (let version = 0; version <= 350; version++) {
      await store.put({ _id: "m1", version } as { _id: string }, "version");
    }
    await store.disconnect();
    const lines = readFileSync(join(dir, "busy.db"), "utf8").trim().split("\n");
    expect(lines.length).toBeLessThan(110);
    expect(lines.at(-1)).toContain('"version":350');
  });
});
