import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import {
  type FailedAttempt,
  nextAttemptDelayMs,
  retryAfterMs,
  type Urgency,
} from "../../services/partners/domain/webhook-schedule.ts";
import { senderLimits } from "../../services/partners/workers/webhook-sender.ts";

const TIMEOUT_MS = senderLimits.timeoutMs;
const ACCEPT_WITHIN_MS = 600_000;

/** The moments of all tries when each of them takes `tryMs`, from the first at 0. */
function momentsOf(urgency: Urgency, tryMs: number, random: () => number): number[] {
  const moments = [0];
  for (;;) {
    const endMs = (moments.at(-1) ?? 0) + tryMs;
    const waitMs = nextAttemptDelayMs({ urgency, attempt: moments.length }, random());
    if (waitMs === undefined) return moments;
    moments.push(endMs + waitMs);
  }
}

const chance = fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true }));

describe("an attempt", () => {
  it("without an answer ends after ten seconds, before its lease", () => {
    expect(senderLimits.timeoutMs).toBe(10_000);
    expect(senderLimits.leaseMs).toBeGreaterThan(senderLimits.timeoutMs);
  });
});

describe("the schedule of attempts", () => {
  it("for an order to prepare, has ten within ten minutes, also if each reaches its time limit", () => {
    fc.assert(
      fc.property(chance, (stream) => {
        const moments = momentsOf("preparation", TIMEOUT_MS, () => stream.next().value as number);
        expect(moments).toHaveLength(10);
        expect((moments.at(-1) ?? 0) + TIMEOUT_MS).toBeLessThan(ACCEPT_WITHIN_MS);
      }),
    );
  });

  it("for an order to prepare, has ten within the partner's time to accept, whatever that is", () => {
    const minutes = fc.integer({ min: 2, max: 60 });
    const tryMs = fc.integer({ min: 0, max: TIMEOUT_MS });
    fc.assert(
      fc.property(minutes, tryMs, chance, (acceptanceMinutes, lastsMs, stream) => {
        let remainingMs = acceptanceMinutes * 60_000;
        let tries = 0;
        for (let waitMs: number | undefined = 0; waitMs !== undefined; tries++) {
          remainingMs -= waitMs;
          expect(remainingMs).toBeGreaterThanOrEqual(TIMEOUT_MS);
          remainingMs -= lastsMs;
          const failed = { urgency: "preparation", attempt: tries + 1, remainingMs } as const;
          waitMs = nextAttemptDelayMs(failed, stream.next().value as number);
        }
        expect(tries).toBe(10);
      }),
    );
  });

  it("for an order to prepare, uses a short time to accept up to its end, also if each try fails at once", () => {
    let remainingMs = 120_000;
    for (let attempt = 1; attempt < 10; attempt++) {
      remainingMs -= nextAttemptDelayMs({ urgency: "preparation", attempt, remainingMs }, 0) ?? 0;
    }
    expect(remainingMs).toBeLessThanOrEqual(TIMEOUT_MS);
  });

  it("for an order to prepare, waits for seconds at first and for two minutes at last", () => {
    const waits = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((attempt) =>
      nextAttemptDelayMs({ urgency: "preparation", attempt }, 0),
    );
    expect(waits).toEqual([1e3, 2e3, 4e3, 8e3, 16e3, 3e4, 6e4, 9e4, 12e4]);
  });

  it("shortens each wait randomly by at most its share", () => {
    expect(nextAttemptDelayMs({ urgency: "preparation", attempt: 9 }, 1)).toBe(84_000);
    expect(nextAttemptDelayMs({ urgency: "information", attempt: 1 }, 1)).toBe(4_500);
  });

  it("for other events, is that of the Standard Webhooks specification", () => {
    const hours = momentsOf("information", 0, () => 0).map((ms, at, all) => ms - (all[at - 1] ?? 0));
    expect(hours).toEqual([0, 5e3, 3e5, 18e5, 72e5, 18e6, 36e6, 504e5, 72e6, 864e5]);
  });

  it("for a test, is a single attempt", () => {
    expect(nextAttemptDelayMs({ urgency: "test", attempt: 1 }, 0.5)).toBeUndefined();
  });

  it("with Retry-After, is not before the schedule, nor before Retry-After as far as all attempts still fit", () => {
    const failed = fc.record({
      urgency: fc.constantFrom<Urgency>("preparation", "information"),
      attempt: fc.integer({ min: 1, max: 9 }),
      retryAfterMs: fc.integer({ min: 0, max: 86_400_000 }),
      remainingMs: fc.integer({ min: -1_000, max: 86_400_000 }),
    });
    fc.assert(
      fc.property(failed, (one: FailedAttempt) => {
        const waitMs = nextAttemptDelayMs(one, 0);
        const unaskedMs = nextAttemptDelayMs({ ...one, retryAfterMs: undefined }, 0);
        // Asking for time never takes a try away.
        expect(waitMs === undefined).toBe(unaskedMs === undefined);
        if (waitMs === undefined) return;
        expect(waitMs).toBeGreaterThanOrEqual(unaskedMs ?? 0);
        expect(waitMs).toBeLessThanOrEqual(Math.max(one.retryAfterMs ?? 0, unaskedMs ?? 0));
        expect(waitMs).toBeLessThanOrEqual(one.remainingMs ?? 0);
      }),
    );
  });

  it.each([30_000, 3_600_000, 86_400_000])(
    "with Retry-After of %i ms for each attempt of an order to prepare, still makes ten within ten minutes",
    (retryAfterMs) => {
      let remainingMs = ACCEPT_WITHIN_MS;
      let tries = 0;
      for (let waitMs: number | undefined = 0; waitMs !== undefined; tries++) {
        remainingMs -= waitMs + TIMEOUT_MS;
        waitMs = nextAttemptDelayMs(
          { urgency: "preparation", attempt: tries + 1, retryAfterMs, remainingMs },
          0,
        );
      }
      expect(tries).toBe(10);
      expect(remainingMs).toBeGreaterThanOrEqual(0);
    },
  );

  it("with a time to retry that the schedule has, waits for it", () => {
    const failed = { urgency: "preparation", attempt: 1, remainingMs: 590_000 } as const;
    expect(nextAttemptDelayMs({ ...failed, retryAfterMs: 120_000 }, 0)).toBe(120_000);
    expect(nextAttemptDelayMs({ urgency: "information", attempt: 1, retryAfterMs: 3_600_000 }, 0)).toBe(
      3_600_000,
    );
  });
});

describe("Retry-After", () => {
  const nowMs = Date.parse("2026-11-22T10:00:00Z");
  it.each([
    ["120", 120_000],
    ["0", 0],
    ["Sun, 22 Nov 2026 10:01:00 GMT", 60_000],
    ["Sun, 22 Nov 2026 09:00:00 GMT", 0],
    ["-5", undefined],
    ["soon", undefined],
    ["2026-11-22T10:01:00Z", undefined],
    ["1e9", undefined],
    [undefined, undefined],
  ])("%s is %s", (header, expected) => {
    expect(retryAfterMs(header, nowMs)).toBe(expected);
  });
});
