import { describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type BankFixture, bankContract } from "../../providers/banks/contract.ts";
import { type Bank, BankError, openBank } from "../../providers/banks/index.ts";
import { euro, key, opened, secret, settings } from "../support/stripe-bank.ts";
import { type StripeMood, startStripe } from "../support/stripe-server.ts";

const payBy = () => new Date(Date.now() + 1_800_000).toISOString();

describe("bank stripe", () => {
  bankContract(async (): Promise<BankFixture> => {
    const stripe = await startStripe({ key, secrets: [secret] });
    const bank = opened(stripe.url);
    const next = () => {
      // Stripe tells the same thing in several events; those without an effect are no reports to the suite.
      for (;;) {
        const report = stripe.reports.shift();
        if (!report) throw new Error("Stripe has reported nothing");
        if (bank.verify({ ...report, now: Date.now() }).kind === "event") return report;
      }
    };
    return {
      bank,
      stranger: opened(stripe.url, { webhookSecret: `whsec_${"o".repeat(32)}` }),
      async pay(checkoutUrl) {
        stripe.reports.length = 0;
        stripe.pay(checkoutUrl);
        return next();
      },
      nextReport: async () => next(),
      stop: () => stripe.stop(),
    };
  });
});

describe("openBank of stripe", () => {
  it.each([
    ["a key of another form", { secretKey: "pk_test_publishable" }],
    ["a secret of another form", { webhookSecret: "secret-of-somebody" }],
    ["an address that is none", { returnUrl: "javascript:alert(1)" }],
    ["a setting that is missing", { returnUrl: "" }],
  ])("with %s, refuses without showing a value", (_, change) => {
    let message = "";
    try {
      openBank("stripe", { ...settings, ...change }, "https://checkout.stripe.com");
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).not.toBe("");
    for (const value of Object.values(change)) if (value) expect(message).not.toContain(value);
  });
});

describe("Stripe's adapter, asking", () => {
  async function withStripe<T>(
    work: (bank: Bank, stripe: Awaited<ReturnType<typeof startStripe>>) => Promise<T>,
  ): Promise<T> {
    const stripe = await startStripe({ key, secrets: [secret] });
    try {
      return await work(opened(stripe.url), stripe);
    } finally {
      await stripe.stop();
    }
  }
  const kindOf = async (work: Promise<unknown>) =>
    work.then(
      () => "done",
      (error: BankError) => (error instanceof BankError ? error.kind : String(error)),
    );
  const request = (more: object = {}) => {
    const orderId = newId();
    return {
      orderId,
      amount: euro(2950),
      idempotencyKey: orderId,
      callbackUrl: "http://127.0.0.1:9",
      description: "Bäckerei Aare: 2 × Bread, Butter",
      payBy: payBy(),
      ...more,
    };
  };

  it("names the order wherever Stripe keeps it, and shows the lines, if they add up", async () => {
    await withStripe(async (bank, stripe) => {
      const lines = [
        { title: "Bread", quantity: 2, unitAmountMinor: 1000 },
        { title: "Delivery", quantity: 1, unitAmountMinor: 950 },
      ];
      for (const given of [lines, [], [{ title: "Bread", quantity: 1, unitAmountMinor: 1 }]]) {
        const asked = request({ lines: given });
        const { reference = "" } = await bank.openCheckout(asked);
        expect(stripe.sessions.get(reference)).toMatchObject({
          client_reference_id: asked.orderId,
          metadata: { order_id: asked.orderId },
          intent_metadata: { order_id: asked.orderId },
          amount_total: 2950,
          currency: "eur",
        });
      }
    });
  });

  it("offers no way to pay whose money comes days later, and leaves the others to the Dashboard", async () => {
    await withStripe(async (bank, stripe) => {
      const { reference = "" } = await bank.openCheckout(request());
      const excluded = stripe.sessions.get(reference)?.excluded;
      const late = ["sepa_debit", "us_bank_account", "bacs_debit", "boleto", "konbini", "customer_balance"];
      expect(excluded).toEqual(expect.arrayContaining(late));
      for (const sure of ["card", "twint", "ideal", "paypal"]) expect(excluded).not.toContain(sure);
    });
  });

  it("for a page of an order that can be paid for a second more, asks for no time that Stripe refuses", async () => {
    await withStripe(async (bank) => {
      for (const leftMs of [1_000, 1_800_000]) {
        const checkout = bank.openCheckout(request({ payBy: new Date(Date.now() + leftMs).toISOString() }));
        expect(await kindOf(checkout)).toBe("done");
      }
    });
  });

  it("again under one key for another amount, is told so and does not take the old page for the new", async () => {
    await withStripe(async (bank) => {
      const asked = request();
      await bank.openCheckout(asked);
      expect(await kindOf(bank.openCheckout({ ...asked, amount: euro(1) }))).toBe("unclear");
    });
  });

  it.each<[StripeMood, string]>([
    ["down", "unclear"],
    ["lost", "unclear"],
    [500, "unclear"],
    [503, "unclear"],
    [429, "unclear"],
    [409, "unclear"],
    [403, "unclear"],
    [401, "unclear"],
    [402, "refused"],
    [400, "refused"],
    [404, "refused"],
    [307, "unclear"],
  ])("when Stripe is %s, a refund is %s", async (mood, kind) => {
    await withStripe(async (bank, stripe) => {
      const { checkoutUrl, reference } = await bank.openCheckout(request());
      stripe.pay(checkoutUrl);
      const [payment] = await bank.findPayments("o", reference);
      stripe.mood = mood;
      const refund = { refundId: newId(), paymentId: payment?.paymentId ?? "", amount: euro(1) };
      expect(await kindOf(bank.refund(refund))).toBe(kind);
      expect(await kindOf(bank.findRefund?.("r", "p") as Promise<unknown>)).toBe(kind);
    });
  });

  it("gives up when its time is over", async () => {
    await withStripe(async (bank, stripe) => {
      stripe.mood = "hangs";
      expect(await kindOf(bank.openCheckout(request({ timeoutMs: 100 })))).toBe("unclear");
    });
  });

  it("with a key that Stripe does not know, says so without the key", async () => {
    const stripe = await startStripe({ key: "sk_test_another", secrets: [secret] });
    const error = await opened(stripe.url)
      .findPayments("o")
      .catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ kind: "unclear", message: expect.stringContaining("401") });
    expect(JSON.stringify([String(error), error])).not.toContain(key);
    await stripe.stop();
  });

  it("about a refund whose answer was lost, finds it, and nothing of another", async () => {
    await withStripe(async (bank, stripe) => {
      const { checkoutUrl, reference } = await bank.openCheckout(request());
      stripe.pay(checkoutUrl);
      const [payment] = await bank.findPayments("o", reference);
      const paymentId = payment?.paymentId ?? "";
      const refundId = newId();
      stripe.mood = "lost";
      expect(await kindOf(bank.refund({ refundId, paymentId, amount: euro(100) }))).toBe("unclear");
      stripe.mood = "well";
      expect(await bank.findRefund?.(refundId, paymentId)).toEqual({ state: "completed" });
      expect(await bank.findRefund?.(newId(), paymentId)).toBeUndefined();
    });
  });

  it.each([
    ["EUR", 1250, 1250],
    ["JPY", 1250, 1250],
    ["ISK", 1250, 125_000],
    ["UGX", 5, 500],
    ["MGA", 1200, 12],
    ["KWD", 1230, 1230],
  ])("counts %s as Stripe counts it: %i is %i", async (currency, amountMinor, atStripe) => {
    await withStripe(async (bank, stripe) => {
      const asked = request({ amount: { amountMinor, currency } });
      const { checkoutUrl, reference = "" } = await bank.openCheckout(asked);
      expect(stripe.sessions.get(reference)).toMatchObject({ amount_total: atStripe });
      stripe.pay(checkoutUrl);
      const found = await bank.findPayments(asked.orderId, reference);
      expect(found).toMatchObject([{ amount: { amountMinor, currency } }]);
    });
  });

  it.each([
    ["KWD", 1234],
    ["MGA", 1250],
  ])(
    "an amount in %s that Stripe has no number for, is refused before anything is sent",
    async (currency, amountMinor) => {
      await withStripe(async (bank, stripe) => {
        const checkout = bank.openCheckout(request({ amount: { amountMinor, currency } }));
        expect(await kindOf(checkout)).toBe("refused");
        expect(stripe.asked).toEqual([]);
      });
    },
  );
});
