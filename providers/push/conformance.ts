import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import type { Push, PushProvider } from "./port.ts";

/** Enough for any answer on a busy machine. */
const TIMEOUT_MS = 30_000;
const HANGING_TIMEOUT_MS = 300;
/** Timers of Node may end this much before their time by the precise clock. */
const TIMER_EARLY_MS = 5;

/** How a push fails. */
export type PushFailure = "none" | "unregistered" | "refused" | "broken" | "hanging";

export interface PushHarness {
  provider: PushProvider;
  settings: Record<string, string>;
  /** A new token whose pushes fail in this way. */
  token(failure: PushFailure): string;
  /** The pushes that the phones have shown, each once. */
  shown(): { title: string; body: string }[];
  stop(): Promise<void>;
}

/** The conformance suite of every push provider. Call it inside a `describe`. */
export function pushConformance(start: () => Promise<PushHarness>): void {
  let harness: PushHarness;
  beforeAll(async () => {
    harness = await start();
  });
  afterAll(async () => {
    await harness.stop();
    await harness.provider.close?.();
  });

  const push = (failure: PushFailure, change: Partial<Push> = {}): Push => ({
    token: harness.token(failure),
    title: "On its way",
    body: `Dora has “it” <${newId()}>`,
    data: { orderId: newId() },
    collapseId: newId(),
    settings: harness.settings,
    timeoutMs: TIMEOUT_MS,
    ...change,
  });
  const timesShown = ({ body }: Push) => harness.shown().filter((one) => one.body === body).length;

  it("send, to a phone, is accepted and shown as it was written", async () => {
    const one = push("none");
    expect(await harness.provider.send(one)).toMatchObject({ outcome: "accepted" });
    expect(harness.shown()).toContainEqual(expect.objectContaining({ title: one.title, body: one.body }));
  });

  it("send, repeated with its collapse id, is accepted again and shown once", async () => {
    const one = push("none");
    await harness.provider.send(one);
    expect(await harness.provider.send(one)).toMatchObject({ outcome: "accepted" });
    expect(timesShown(one)).toBe(1);
  });

  it("send, to an unknown token, answers unregistered", async () => {
    const one = push("unregistered");
    expect(await harness.provider.send(one)).toMatchObject({ outcome: "unregistered" });
    expect(timesShown(one)).toBe(0);
  });

  it("send, when the provider refuses, answers refused", async () => {
    const one = push("refused");
    expect(await harness.provider.send(one)).toMatchObject({ outcome: "refused" });
    expect(timesShown(one)).toBe(0);
  });

  it("send, when the provider fails after it may have sent, answers unclear", async () => {
    expect(await harness.provider.send(push("broken"))).toMatchObject({ outcome: "unclear" });
  });

  it("send, without an answer, answers unclear at its timeout", async () => {
    const startedMs = performance.now();
    const one = push("hanging", { timeoutMs: HANGING_TIMEOUT_MS });
    expect(await harness.provider.send(one)).toMatchObject({ outcome: "unclear" });
    expect(performance.now() - startedMs).toBeGreaterThan(HANGING_TIMEOUT_MS - TIMER_EARLY_MS);
    // Far below any other time limit that could have ended it.
    expect(performance.now() - startedMs).toBeLessThan(TIMEOUT_MS / 2);
  });

  it("check, of incomplete settings, names the missing ones", () => {
    expect(harness.provider.check(harness.settings)).toBeUndefined();
    for (const name of harness.provider.requires) {
      expect(harness.provider.check({ ...harness.settings, [name]: "" })).toContain(name);
    }
  });

  it("send, once the provider is stopped, answers refused and does not throw", async () => {
    const one = push("none");
    await harness.stop();
    const result = await harness.provider.send(one);
    expect(result).toMatchObject({ outcome: "refused" });
    for (const secret of Object.values(harness.settings)) expect(result.detail).not.toContain(secret);
  });
}
