import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import { controlSocketPath } from "../../platform/control/address.ts";
import { connectToPlatform, NotRunning } from "../../platform/control/client.ts";
import { type ControlHandlers, startControlServer } from "../../platform/control/server.ts";
import { SocketTransporter } from "../../platform/control/socket-transporter.ts";
import { eventually } from "../support/eventually.ts";

const folder = mkdtempSync(join(tmpdir(), "control "));
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const handlers: ControlHandlers = {
  hello: () => ({ namespace: "n", services: ["shop"], pid: process.pid, ready: true }),
  gauges: () => ({ gauges: [] }),
  collections: () => ({ collections: [] }),
  rebuild: ({ collection }) => {
    throw fail("NOT_FOUND", `There is no ${collection}.`);
  },
  token: async () => ({ token: "t" }),
  createAdmin: () => ({ userId: newId(), created: true }),
};

async function serve(namespace = `control-${newId()}`) {
  const dataDir = mkdtempSync(join(folder, "data "));
  undo.push(await startControlServer(controlSocketPath(dataDir), namespace, handlers));
  return { dataDir, namespace };
}

function node(nodeID: string, namespace: string, transporter: unknown) {
  const broker = new ServiceBroker({
    nodeID,
    namespace,
    transporter: transporter as "Fake",
    logger: false,
    skipProcessEventRegistration: true,
  });
  undo.push(() => broker.stop());
  return broker;
}

describe("the control socket", () => {
  it("can be opened by its owner only, and answers requests with results or errors", async () => {
    const { dataDir } = await serve();
    expect(statSync(controlSocketPath(dataDir)).mode & 0o777).toBe(0o600);
    const platform = await connectToPlatform(dataDir);
    undo.push(() => platform.close());
    expect(await platform.request("token", {})).toEqual({ token: "t" });
    await expect(platform.request("rebuild", { collection: "x" })).rejects.toThrow("There is no x.");
    await expect(platform.request("toString" as "token", {})).rejects.toThrow("no such request");
  });

  it("connects a node of another process, with calls and events in both directions", async () => {
    const { dataDir, namespace } = await serve();
    const inside = node("inside", namespace, "Fake");
    const heard: unknown[] = [];
    inside.createService({
      name: "shop",
      actions: { sell: (ctx) => `sold ${ctx.params.what} by ${ctx.broker.nodeID}` },
      events: { "shop.closes": (ctx) => void heard.push(ctx.params) },
    });
    await inside.start();
    const platform = await connectToPlatform(dataDir);
    const outside = node("outside", namespace, new SocketTransporter(platform));
    await outside.start();
    await outside.waitForServices("shop", 60_000, 10);
    expect(await outside.call("shop.sell", { what: "bread" })).toBe("sold bread by inside");
    await outside.broadcast("shop.closes", { at: 18 });
    await eventually(() => expect(heard).toEqual([{ at: 18 }]));

    const known = () => inside.registry.getNodeList({ onlyAvailable: true }).map(({ id }) => id);
    await eventually(() => expect(known()).toContain("outside"));
    platform.close(); // as when the process is killed: without a farewell
    await eventually(() => expect(known()).toEqual(["inside"]));
  });

  it("ends a connection with invalid frames or of another platform, and keeps the others", async () => {
    const { dataDir } = await serve();
    const platform = await connectToPlatform(dataDir);
    undo.push(() => platform.close());
    for (const line of ["nonsense", '{"subscribe":"MOL-somebody-elses.INFO"}', "null"]) {
      const socket = createConnection(controlSocketPath(dataDir));
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.on("error", () => undefined);
      socket.write(`${line}\n`);
      await closed;
    }
    expect(await platform.request("token", {})).toEqual({ token: "t" });
  });

  it("moves to a short path when the data folder's is too long for a socket", async () => {
    const dataDir = join(folder, "d".repeat(90), "data");
    mkdirSync(dataDir, { recursive: true });
    const path = controlSocketPath(dataDir);
    expect(Buffer.byteLength(path)).toBeLessThanOrEqual(103);
    expect(path.startsWith(dataDir)).toBe(false);
    undo.push(await startControlServer(path, "n", handlers));
    const platform = await connectToPlatform(dataDir);
    undo.push(() => platform.close());
    expect(await platform.request("hello", {})).toMatchObject({ ready: true });
  });

  it("without a server, fails with NotRunning", async () => {
    await expect(connectToPlatform(join(folder, "nobody"))).rejects.toBeInstanceOf(NotRunning);
  });

  it("when closed, rejects waiting requests", async () => {
    const dataDir = mkdtempSync(join(folder, "gone "));
    const hanging = { ...handlers, token: () => new Promise<never>(() => undefined) };
    const stop = await startControlServer(controlSocketPath(dataDir), "n", hanging);
    const platform = await connectToPlatform(dataDir);
    const lost = expect(platform.request("token", {})).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    await stop();
    await lost;
  });
});
