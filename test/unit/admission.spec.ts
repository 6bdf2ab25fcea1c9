import { describe, expect, it } from "@jest/globals";
import { type AdmittedCall, admission, type RequestClass } from "../../services/api/limits/admission.ts";

const LIMIT = 400;
const LIMIT_MIN = 100;

/** A gateway whose calls end, and whose time passes, when the test says so. */
function gateway() {
  const state = { nowMs: 0, begun: 0, tenants: 0 };
  const admitted = admission({ now: () => state.nowMs });
  const start = (call: Partial<AdmittedCall> = {}) => {
    const end = Promise.withResolvers<void>();
    const done = admitted.run(
      { class: "callback", tenant: `tenant ${state.tenants++}`, isSample: false, ...call },
      () => {
        state.begun++;
        return end.promise;
      },
    );
    done.catch(() => undefined);
    return {
      done,
      end() {
        end.resolve();
        return done;
      },
    };
  };
  /** Starts calls that the test does not end. */
  const fill = (count: number, call: Partial<AdmittedCall> = {}) => void many(count, call);
  const many = (count: number, call: Partial<AdmittedCall> = {}) =>
    Array.from({ length: count }, () => start(call));
  /** Rounds of as many sampled calls as there is room for; each takes the time. */
  const rounds = async (count: number, tookMs: number, call: Partial<AdmittedCall> = {}) => {
    for (let round = 0; round < count; round++) {
      const calls = many(LIMIT, { isSample: true, ...call });
      state.nowMs += tookMs;
      await Promise.allSettled(calls.map((one) => one.end()));
      state.nowMs += 300;
    }
  };
  return { state, admitted, start, fill, many, rounds };
}

const refusal = { type: "OVERLOADED", code: 503, data: { retryAfterSeconds: 1 } };

describe("admission", () => {
  it("refuses a call beyond the limit before it has begun, and admits the next one when another ends", async () => {
    const { state, admitted, start, fill, many } = gateway();
    const [first] = many(LIMIT);
    await expect(start().done).rejects.toMatchObject(refusal);
    expect(state.begun).toBe(LIMIT);
    expect(admitted.refused()).toEqual({ callback: 1, write: 0, read: 0 });
    await first?.end();
    fill(1);
    expect(state.begun).toBe(LIMIT + 1);
    expect(admitted.running()).toBe(LIMIT);
  });

  it("refuses reads first, then writes, and callbacks last", async () => {
    const { start, fill } = gateway();
    const refused = async (requestClass: RequestClass) =>
      await start({ class: requestClass })
        .end()
        .then(
          () => false,
          () => true,
        );
    const classes = ["read", "write", "callback"] as const;
    const seen: boolean[][] = [];
    for (const more of [LIMIT * 0.6, LIMIT * 0.2, LIMIT * 0.2]) {
      fill(more);
      seen.push(await Promise.all(classes.map(refused)));
    }
    expect(seen).toEqual([
      [true, false, false],
      [true, true, false],
      [true, true, true],
    ]);
  });

  it("leaves room for others beside a tenant that sends more than its share", async () => {
    const { state, start, fill } = gateway();
    fill(LIMIT, { tenant: "greedy" });
    expect(state.begun).toBe(LIMIT / 2);
    await expect(start({ tenant: "greedy" }).done).rejects.toMatchObject(refusal);
    await expect(start({ tenant: "other" }).end()).resolves.toBeUndefined();
  });

  it("frees the place of a call that fails", async () => {
    const { admitted } = gateway();
    const failing = admitted.run({ class: "read", tenant: "one", isSample: true }, () =>
      Promise.reject(new Error("no")),
    );
    await expect(failing).rejects.toThrow("no");
    expect(admitted.running()).toBe(0);
  });

  it("lowers its limit while sampled calls are slow, to a least one, and raises it when they are fast again", async () => {
    const { admitted, rounds } = gateway();
    await rounds(3, 500);
    expect(admitted.limit()).toBeLessThan(LIMIT / 2);
    await rounds(30, 500);
    expect(admitted.limit()).toBe(LIMIT_MIN);
    await rounds(40, 10);
    expect(admitted.limit()).toBeGreaterThan(300);
  });

  it("keeps its limit while fewer calls run at once than it always admits", async () => {
    const { state, admitted, many } = gateway();
    for (let round = 0; round < 10; round++) {
      const calls = many(LIMIT_MIN - 1, { isSample: true });
      state.nowMs += 2_000;
      await Promise.all(calls.map((one) => one.end()));
    }
    expect(admitted.limit()).toBe(LIMIT);
  });

  it("keeps its limit while only calls are slow that wait for third parties", async () => {
    const { admitted, rounds } = gateway();
    await rounds(10, 2_000, { isSample: false });
    expect(admitted.limit()).toBe(LIMIT);
  });

  it("does not let calls lower the limit that began before it fell", async () => {
    const { state, admitted, many } = gateway();
    const calls = many(200, { isSample: true });
    for (let at = 0; at < calls.length; at += 40) {
      state.nowMs += 500;
      await Promise.all(calls.slice(at, at + 40).map((one) => one.end()));
    }
    expect(admitted.limit()).toBe(140);
  });

  it("counts a tenant's calls one by one, also after some of them have ended", async () => {
    const { state, start, fill } = gateway();
    const call = { tenant: "one" };
    const [first, second, third] = [start(call), start(call), start(call)];
    await first.end();
    await second.end();
    fill(LIMIT, call);
    expect(state.begun).toBe(2 + LIMIT / 2);
    await third.end();
    fill(LIMIT, call);
    expect(state.begun).toBe(3 + LIMIT / 2);
  });

  it("raises its limit by a tenth after a window with a refusal and ten fast calls, no sooner", async () => {
    const { state, admitted, start, many } = gateway();
    const calls = many(LIMIT, { isSample: true });
    await expect(start().done).rejects.toMatchObject(refusal);
    state.nowMs = 200;
    for (const one of calls.slice(0, 9)) await one.end();
    expect(admitted.limit()).toBe(LIMIT);
    await calls[9]?.end();
    expect(admitted.limit()).toBe(Math.ceil(LIMIT * 1.1));
  });

  it("raises no limit within a window, and with few calls after two seconds", async () => {
    const { state, admitted, start, many } = gateway();
    const calls = many(LIMIT, { isSample: true });
    await expect(start().done).rejects.toMatchObject(refusal);
    state.nowMs = 199;
    for (const one of calls.slice(0, 12)) await one.end();
    expect(admitted.limit()).toBe(LIMIT);

    const few = gateway();
    const others = few.many(LIMIT, { isSample: true });
    await expect(few.start().done).rejects.toMatchObject(refusal);
    few.state.nowMs = 1_999;
    await others[0]?.end();
    expect(few.admitted.limit()).toBe(LIMIT);
    few.state.nowMs = 2_000;
    await others[1]?.end();
    expect(few.admitted.limit()).not.toBe(LIMIT);
  });

  it("raises its limit to 2,000 at most", async () => {
    const { state, admitted, many } = gateway();
    for (let round = 0; round < 20; round++) {
      const calls = many(admitted.limit() + 1, { isSample: true });
      state.nowMs += 200;
      await Promise.allSettled(calls.map((one) => one.end()));
    }
    expect(admitted.limit()).toBe(2_000);
  });

  it.each([
    [400, LIMIT],
    [401, LIMIT * 0.7],
  ])("with calls that take %i ms, has a limit of %i", async (tookMs, limit) => {
    const { admitted, rounds } = gateway();
    await rounds(1, tookMs);
    expect(admitted.limit()).toBe(limit);
  });
});
