import { EventEmitter } from "node:events";
import { describe, expect, it } from "@jest/globals";
import type { Redis } from "ioredis";
import { sharedStore } from "../../lib/redis/shared-store.ts";

/** A stand-in for the state and events of a connection. */
function connection() {
  const client = Object.assign(new EventEmitter(), {
    status: "ready",
    ping: () => Promise.resolve("PONG"),
    quit: () => Promise.resolve("OK"),
    disconnect: () => undefined,
  });
  const lines: string[] = [];
  const store = sharedStore({
    client: client as unknown as Redis,
    timeoutMs: 20,
    logger: { info: (line) => lines.push(String(line)), warn: (line) => lines.push(String(line)) },
  });
  return { client, store, lines };
}

describe("the shared store", () => {
  it("in a process that was busy beyond the timeout, uses the answer that arrived meanwhile", async () => {
    const { client, store } = connection();
    client.emit("ready");
    const answer = store.attempt(() => new Promise((resolve) => setImmediate(() => resolve("there"))));
    const untilMs = performance.now() + 60;
    while (performance.now() < untilMs);
    expect(await answer).toBe("there");
    expect(store.unanswered()).toBe(0);
    await store.close();
  });

  it("after one missing answer, sends nothing before Redis has answered a ping", async () => {
    const { client, store, lines } = connection();
    client.emit("ready");
    let asked = 0;
    const silent = () => {
      asked++;
      return new Promise<string>(() => undefined);
    };
    expect(await store.attempt(silent)).toBeUndefined();
    expect(await store.attempt(silent)).toBeUndefined();
    expect([asked, store.available(), store.unanswered()]).toEqual([1, false, 2]);
    expect(await store.ready(2_000)).toBe(true);
    expect(await store.attempt(async () => "there")).toBe("there");
    expect(lines).toEqual([
      expect.stringContaining("no answer within"),
      expect.stringContaining("answers again"),
    ]);
    await store.close();
  });

  it("after a refusal, continues to send", async () => {
    const { client, store } = connection();
    client.emit("ready");
    expect(await store.attempt(() => Promise.reject(new Error("OOM command not allowed")))).toBeUndefined();
    expect(await store.attempt(async () => 7)).toBe(7);
    await store.close();
  });

  it("during repeated connection attempts, logs once that Redis is unavailable", async () => {
    const { client, store, lines } = connection();
    client.status = "reconnecting";
    for (let tries = 0; tries < 5; tries++) {
      client.emit("error", new Error("connect ECONNREFUSED"));
      client.emit("close");
    }
    expect(lines).toEqual([expect.stringContaining("connect ECONNREFUSED")]);
    await store.close();
  });
});
