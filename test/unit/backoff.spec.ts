import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { backoffMs, jittered } from "../../lib/backoff.ts";

const backoffs = fc.record({
  firstMs: fc.integer({ min: 1, max: 60_000 }),
  factor: fc.double({ min: 1, max: 10, noNaN: true }),
  maxMs: fc.integer({ min: 1, max: 86_400_000 }),
  jitter: fc.double({ min: 0, max: 1, noNaN: true }),
});
const chance = fc.double({ min: 0, max: 1, noNaN: true });
const failures = fc.integer({ min: 1, max: 10_000 });

describe("backoffMs", () => {
  it("for any number of failures and any chance, stays between the shortened wait and the longest", () => {
    fc.assert(
      fc.property(backoffs, failures, chance, (backoff, count, random) => {
        const wait = backoffMs(backoff, count, random);
        const full = backoffMs({ ...backoff, jitter: 0 }, count, random);
        expect(full).toBeLessThanOrEqual(backoff.maxMs);
        expect(wait).toBeLessThanOrEqual(full);
        expect(wait).toBeGreaterThanOrEqual(Math.floor(full * (1 - backoff.jitter)) - 1);
      }),
    );
  });

  it("without chance, never gets shorter from one failure to the next", () => {
    fc.assert(
      fc.property(backoffs, failures, (backoff, count) => {
        const steady = { ...backoff, jitter: 0 };
        expect(backoffMs(steady, count + 1)).toBeGreaterThanOrEqual(backoffMs(steady, count));
      }),
    );
  });

  it("of the consumer's defaults, gives five deliveries over a minute and a half at most", () => {
    const backoff = { firstMs: 500, factor: 5, maxMs: 60_000, jitter: 0.5 };
    expect([1, 2, 3, 4].map((count) => backoffMs(backoff, count, 0))).toEqual([500, 2_500, 12_500, 60_000]);
    expect([1, 2, 3, 4].map((count) => backoffMs(backoff, count, 1))).toEqual([250, 1_250, 6_250, 30_000]);
  });
});

describe("jittered", () => {
  it("of many who failed together, parts them", () => {
    const waits = new Set(Array.from({ length: 100 }, () => Math.round(jittered(10_000, 0.2))));
    expect(waits.size).toBeGreaterThan(50);
  });
});
