import { describe, expect, it } from "@jest/globals";
import { TimeoutError, waitAtMost, withTimeout } from "../../lib/timeout.ts";

const never = () => new Promise<never>(() => undefined);

describe("withTimeout", () => {
  it("answers what the work answers, and throws what it throws", async () => {
    expect(await withTimeout(60_000, async () => "done")).toBe("done");
    await expect(withTimeout(60_000, () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  });

  it("ends at its time limit though the work never does, and tells the work by its signal", async () => {
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

  it("ends when it is cancelled, before or during the work, for the canceller's reason", async () => {
    const cancel = new AbortController();
    const waiting = withTimeout(60_000, never, cancel.signal);
    cancel.abort(new Error("the service stops"));
    await expect(waiting).rejects.toThrow("the service stops");
    await expect(withTimeout(60_000, never, cancel.signal)).rejects.toThrow("the service stops");
  });

  it("ignores what the work throws after the time limit", async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    await expect(withTimeout(1, () => promise)).rejects.toThrow(TimeoutError);
    reject(new Error("too late"));
    await new Promise((resolve) => setImmediate(resolve));
  });
});

describe("waitAtMost", () => {
  it("resolves when the work settles, however, or at its time limit", async () => {
    await waitAtMost(60_000, Promise.resolve());
    await waitAtMost(60_000, Promise.reject(new Error("broken")));
    await waitAtMost(1, never());
  });
});
