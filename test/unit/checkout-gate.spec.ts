import { beforeEach, describe, expect, it } from "@jest/globals";
import { checkoutGate } from "../../services/orders/actions/checkout-gate.ts";
import type { CheckoutGate } from "../../services/orders/dependencies.ts";

const OPEN_MS = 3_000;
const refusal = { type: "BANK_UNAVAILABLE", data: { retryAfterSeconds: 3 } };

const clock = { ms: 0, now: () => clock.ms };
let gate: CheckoutGate;
beforeEach(() => {
  gate = checkoutGate(clock);
});

const ask = (bankId: string, isAnswered?: boolean) =>
  gate.call(bankId, async () => {
    if (isAnswered !== undefined) throw Object.assign(new Error("no"), { isAnswered });
    return "page";
  });
const fails = (isAnswered: boolean) => expect(ask("slow", isAnswered)).rejects.toThrow("no");
const run = (bankId: string) => gate.run(bankId, async () => "made");

describe("the checkout gate", () => {
  /** Checkouts that go on until the test ends them. */
  const begin = (count: number) =>
    Array.from({ length: count }, () => {
      const bank = Promise.withResolvers<string>();
      const made = gate.run("slow", () => bank.promise);
      return {
        made,
        async end() {
          bank.resolve("made");
          await made;
        },
      };
    });

  it("admits fifty concurrent checkouts at one bank, refuses the next, and does not affect other banks", async () => {
    // Once more after all have ended: no place is lost.
    for (let time = 0; time < 2; time++) {
      const inside = begin(50);
      await expect(run("slow")).rejects.toMatchObject(refusal);
      expect(await run("other")).toBe("made");
      for (const one of inside) await one.end();
    }
    expect(await run("slow")).toBe("made");
  });

  it("frees the place of one that ends, and of no other", async () => {
    const [first, second] = begin(2);
    await first?.end();
    const inside = begin(49);
    await expect(run("slow")).rejects.toMatchObject(refusal);
    for (const one of [second, ...inside]) await one?.end();
  });

  it("frees the place of one that fails, and of no other", async () => {
    const inside = begin(49);
    const broken = async () => {
      throw new Error("broken");
    };
    for (let time = 0; time < 3; time++) await expect(gate.run("slow", broken)).rejects.toThrow("broken");
    inside.push(...begin(1));
    await expect(run("slow")).rejects.toMatchObject(refusal);
    for (const one of inside) await one.end();
  });

  it("is closed for three seconds after five checkouts in a row without an answer of the bank", async () => {
    for (let time = 0; time < 4; time++) await fails(false);
    expect(await run("slow")).toBe("made");
    await fails(false);
    expect(gate.refusedBanks()).toEqual(["slow"]);
    clock.ms += OPEN_MS - 1;
    await expect(run("slow")).rejects.toMatchObject(refusal);
    expect(await run("other")).toBe("made");
    clock.ms += 1;
    expect(await run("slow")).toBe("made");
    await ask("slow");
    expect(gate.refusedBanks()).toEqual([]);
  });

  it.each([
    ["opens a checkout", undefined],
    ["refuses one", true],
  ])("counts from zero after the bank %s, because that is an answer", async (_, isAnswered) => {
    for (let time = 0; time < 4; time++) await fails(false);
    if (isAnswered) await fails(true);
    else expect(await ask("slow")).toBe("page");
    await fails(false);
    expect(gate.refusedBanks()).toEqual([]);
  });
});
