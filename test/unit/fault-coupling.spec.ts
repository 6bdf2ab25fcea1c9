import { describe, expect, it } from "@jest/globals";
import { coupling, type SeenWindow } from "../faults/coupling.ts";

/** Many fast answers and some of `slowMs`. */
function seen(kind: SeenWindow["kind"], slowMs: number, failed = 0): SeenWindow {
  const answers = [...Array<number>(190).fill(10), ...Array<number>(10).fill(slowMs)];
  return { kind, failed, times: { answers } };
}

const alternating = (slow: readonly number[], failed: readonly number[] = [0, 0, 0, 0]): SeenWindow[] =>
  (["alone", "beside", "alone", "beside"] as const).map((kind, index) =>
    seen(kind, slow[index] ?? 0, failed[index]),
  );

describe("the check of P20 finds", () => {
  it("nothing when healthy customers are as fast beside the faults of others as alone", () => {
    expect(coupling(alternating([60, 70, 65, 80]))).toEqual([]);
  });

  it("a p99 that is more than 1.5 times as long beside the faults", () => {
    expect(coupling(alternating([60, 100, 60, 120]))).toEqual([expect.stringContaining("from 60 to 120 ms")]);
  });

  it("nothing on a machine that is slow once, also without faults", () => {
    expect(coupling(alternating([60, 70, 900, 2_000]))).toEqual([]);
    expect(coupling(alternating([60, 2_000, 65, 62]))).toEqual([]);
  });

  it("each request that fails beside the faults while none fails alone", () => {
    expect(coupling(alternating([60, 60, 60, 60], [0, 1, 0, 0]))).toEqual([
      "1 and 0 requests failed beside, alone 0 and 0",
    ]);
  });

  it("more failures beside the faults than alone, on a machine where requests fail anyway", () => {
    expect(coupling(alternating([60, 60, 60, 60], [2, 9, 1, 7]))).toHaveLength(1);
    expect(coupling(alternating([60, 60, 60, 60], [2, 9, 11, 7]))).toEqual([]);
  });
});
