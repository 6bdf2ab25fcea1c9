import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { describe, expect, it } from "@jest/globals";
import { TimeoutError, untilAborted, waitAtMost, withTimeout } from "../../lib/timeout.ts";

const LIMIT_MS = 100;
const never = () => new Promise<never>(() => undefined);

describe("withTimeout", () => {
  it("returns the result of the work, and throws its error", async () => {
    expect(await withTimeout(60_000, async () => "done")).toBe("done");
    await expect(withTimeout(60_000, () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  });

  it("ends at its time limit although the work does not, and aborts the work's signal", async () => {
    let told: unknown;
    const work = (signal: AbortSignal) => {
      signal.addEventListener("abort", () => {
        told = signal.reason;
      });
      return never();
    };
    await expect(withTimeout(10, work)).rejects.toMatchObject({
      name: "TimeoutError",
      message: "no answer within 10 ms",
    });
    expect(told).toBeInstanceOf(TimeoutError);
  });

  it("ends when it is cancelled, before or during the work, with the canceller's reason", async () => {
    const cancel = new AbortController();
    const waiting = withTimeout(60_000, never, cancel.signal);
    cancel.abort(new Error("the service stops"));
    await expect(waiting).rejects.toThrow("the service stops");
    await expect(withTimeout(60_000, never, cancel.signal)).rejects.toThrow("the service stops");
  });

  it("uses an answer that arrived while the event loop was blocked beyond the time limit", async () => {
    const server = createServer((socket) => socket.end("answer")).listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    try {
      const answer = withTimeout(LIMIT_MS, () => once(client, "data"));
      await once(server, "connection");
      const untilMs = performance.now() + 2 * LIMIT_MS;
      while (performance.now() < untilMs);
      expect(String(await answer)).toBe("answer");
    } finally {
      client.destroy();
      server.close();
    }
  });

  it("ignores an error of the work after the time limit", async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    await expect(withTimeout(1, () => promise)).rejects.toThrow(TimeoutError);
    reject(new Error("too late"));
    await new Promise((resolve) => setImmediate(resolve));
  });
});

describe("untilAborted", () => {
  it("settles as the work does, or throws the reason of a signal that is aborted before or during it", async () => {
    const { signal } = new AbortController();
    expect(await untilAborted(signal, Promise.resolve("done"))).toBe("done");
    const stop = new AbortController();
    const waiting = untilAborted(stop.signal, never());
    stop.abort(new Error("stopped"));
    await expect(waiting).rejects.toThrow("stopped");
    await expect(untilAborted(stop.signal, never())).rejects.toThrow("stopped");
  });
});

describe("waitAtMost", () => {
  it("resolves when the work settles, however, or at its time limit", async () => {
    await waitAtMost(60_000, Promise.resolve());
    await waitAtMost(60_000, Promise.reject(new Error("broken")));
    await waitAtMost(1, never());
  });
});
