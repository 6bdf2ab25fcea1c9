import { describe, expect, it } from "@jest/globals";
import { type CircuitBreakers, circuitBreaker, circuitBreakers } from "../../lib/circuit-breaker.ts";
import { PUSH_BREAKER } from "../../services/notifications/workers/delivery.ts";

function at(startMs = 0) {
  const clock = { nowMs: startMs, now: () => clock.nowMs };
  return { clock, health: circuitBreakers(clock, PUSH_BREAKER) };
}

function failTimes(health: CircuitBreakers, times: number): void {
  for (let i = 0; i < times; i++) health.failed("onesignal");
}

describe("a circuit breaker for each provider", () => {
  it("a provider, after four failures and a success, is tried", () => {
    const { health } = at();
    failTimes(health, 4);
    health.worked("onesignal");
    failTimes(health, 4);
    expect(health.admits("onesignal")).toBe(true);
  });

  it("a provider, after five failures in a row, is skipped while others are tried", () => {
    const { health } = at();
    failTimes(health, 5);
    expect(health.admits("onesignal")).toBe(false);
    expect(health.admits("sandbox")).toBe(true);
  });

  it("a provider that was skipped for 15 s is tried by one push only, until that one worked", () => {
    const { clock, health } = at();
    failTimes(health, 5);
    clock.nowMs = 15_000;
    expect([health.admits("onesignal"), health.admits("onesignal")]).toEqual([true, false]);
    health.worked("onesignal");
    expect(health.admits("onesignal")).toBe(true);
  });

  it("a provider that answers Retry-After is skipped at once, for that time and ten minutes at most", () => {
    for (const [askedMs, untilMs] of [
      [40_000, 40_000],
      [3_600_000, 600_000],
    ] as const) {
      const { clock, health } = at();
      health.failed("fcm", askedMs);
      health.failed("fcm");
      clock.nowMs = untilMs - 1;
      expect(health.admits("fcm")).toBe(false);
      clock.nowMs = untilMs;
      expect([health.admits("fcm"), health.admits("fcm")]).toEqual([true, false]);
    }
  });

  it("a provider whose trial failed is skipped for another 15 s", () => {
    const { clock, health } = at();
    failTimes(health, 5);
    clock.nowMs = 15_000;
    health.admits("onesignal");
    health.failed("onesignal");
    clock.nowMs = 29_999;
    expect(health.admits("onesignal")).toBe(false);
  });

  it("a call from before the opening that fails late does not prolong the pause", () => {
    const { clock, health } = at();
    failTimes(health, 5);
    clock.nowMs = 14_000;
    health.failed("onesignal");
    clock.nowMs = 15_000;
    expect(health.admits("onesignal")).toBe(true);
  });

  it("a provider that is skipped is listed until a push worked", () => {
    const { clock, health } = at();
    failTimes(health, 4);
    expect(health.open()).toEqual([]);
    health.failed("onesignal");
    clock.nowMs = 15_000;
    health.admits("onesignal");
    expect(health.open()).toEqual(["onesignal"]);
    health.worked("onesignal");
    expect(health.open()).toEqual([]);
  });

  it("for keys that an attacker makes up, remembers at most a thousand", () => {
    const { health } = at();
    failTimes(health, 5);
    for (let i = 0; i < 1_000; i++) health.failed(`webpush https://${i}.example`);
    expect(health.admits("onesignal")).toBe(true);
    failTimes(health, 5);
    expect(health.admits("onesignal")).toBe(false);
  });
});

describe("a circuit breaker with a least time of failure", () => {
  function failing() {
    const clock = { nowMs: 0, now: () => clock.nowMs };
    return { clock, breaker: circuitBreaker(clock, { failuresToOpen: 2, failingMs: 500, openMs: 2_000 }) };
  }

  it("after many failures at once, stays closed, and opens with a failure after that time", () => {
    const { clock, breaker } = failing();
    for (let call = 0; call < 100; call++) breaker.failed();
    expect(breaker.admits()).toBe(true);
    clock.nowMs = 500;
    breaker.failed();
    expect([breaker.admits(), breaker.isOpen()]).toEqual([false, true]);
  });

  it("after a success, counts the time and the failures again from the start", () => {
    const { clock, breaker } = failing();
    breaker.failed();
    breaker.worked();
    clock.nowMs = 500;
    breaker.failed();
    breaker.failed();
    expect(breaker.isOpen()).toBe(false);
    clock.nowMs = 1_000;
    breaker.failed();
    expect(breaker.isOpen()).toBe(true);
  });
});
