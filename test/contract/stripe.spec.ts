import { describe, expect, it } from "@jest/globals";
import { callbackHeaders } from "../../contracts/banks.ts";
import { newId } from "../../lib/ids.ts";
import { type BankFixture, bankConformance } from "../../providers/banks/conformance.ts";
import { type Bank, BankError, openBank } from "../../providers/banks/index.ts";
import { euro, key, opened, secret, settings } from "../support/stripe-bank.ts";
import { type StripeMood, startStripe } from "../support/stripe-server.ts";

const payBy = () => new Date(Date.now() + 1_800_000).toISOString();

describe("bank stripe", () => {
  bankConformance(async (): Promise<BankFixture> => {
    const stripe = await startStripe({ key, secrets: [secret] });
    const bank = opened(stripe.url);
    const next = () => {
      // Stripe reports the same fact by several events; events without an effect are no reports in this suite.
      for (;;) {
        const report = stripe.reports.shift();
        if (!report) throw new Error("Stripe has reported nothing");
        expect(callbackHeaders.stripe).toEqual(expect.arrayContaining(Object.keys(report.headers)));
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
    ["a previous secret of another form", { webhookSecretPrevious: "secret-of-somebody" }],
    ["an address that is none", { returnUrl: "javascript:alert(1)" }],
    ["an address without a host", { returnUrl: "https://" }],
    ["a setting that is missing", { returnUrl: "" }],
  ])("with %s, refuses without the values in the error", (_, change) => {
    let message = "";
    try {
      openBank("stripe", { ...settings, ...change }, "https://checkout.stripe.com");
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toContain(Object.keys(change)[0]);
    for (const value of Object.values(change)) if (value) expect(message).not.toContain(value);
  });
});

describe("Stripe's adapter, in its requests", () => {
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

  it("openCheckout sends the order's id in all its fields, and the lines if their sum is right", async () => {
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

  it("openCheckout sends up to a hundred lines, otherwise one line with the sum", async () => {
    await withStripe(async (bank, stripe) => {
      const shownOf = async (lines: object[], amount = euro(2950)) => {
        const { reference = "" } = await bank.openCheckout(request({ amount, lines }));
        return stripe.sessions.get(reference)?.shown;
      };
      const cents = (count: number) =>
        Array.from({ length: count }, (_, at) => ({ title: `${at}`, quantity: 1, unitAmountMinor: 1 }));
      const bread = { title: "Bread", quantity: 2, unitAmountMinor: 1000 };
      const whole = ["1 × Bäckerei Aare: 2 × Bread, Butter at 2950"];
      expect(await shownOf([bread, { title: "Delivery", quantity: 1, unitAmountMinor: 950 }])).toEqual([
        ...["2 × Bread at 1000", "1 × Delivery at 950"],
      ]);
      expect(await shownOf([bread])).toEqual(whole);
      expect(await shownOf([])).toEqual(whole);
      expect(await shownOf(cents(100), euro(100))).toHaveLength(100);
      expect(await shownOf(cents(101), euro(101))).toHaveLength(1);
      // The ariary is counted whole there, and these parts are not.
      const parts = [150, 50].map((unitAmountMinor) => ({ title: "Part", quantity: 1, unitAmountMinor }));
      expect(await shownOf(parts, { amountMinor: 200, currency: "MGA" })).toEqual([
        "1 × Bäckerei Aare: 2 × Bread, Butter at 2",
      ]);
    });
  });

  it("openCheckout sends the return address of the order, otherwise that of the bank's settings", async () => {
    await withStripe(async (bank, stripe) => {
      for (const [returnUrl, expected] of [
        [undefined, settings.returnUrl],
        ["https://app.example/back?x=1", "https://app.example/back?x=1"],
      ]) {
        const asked = request({ ...(returnUrl && { returnUrl }) });
        const { reference = "" } = await bank.openCheckout(asked);
        const back = (checkout: string) => {
          const url = new URL(expected as string);
          url.searchParams.set("order_id", asked.orderId);
          url.searchParams.set("checkout", checkout);
          return url.href;
        };
        expect(stripe.sessions.get(reference)?.back).toEqual([back("paid"), back("cancelled")]);
      }
    });
  });

  it("keeps the page open half an hour and a minute beyond the time to pay, else as long as Stripe does", async () => {
    await withStripe(async (bank, stripe) => {
      const endOf = async (more: object) => {
        const { reference = "" } = await bank.openCheckout(request(more));
        return stripe.sessions.get(reference)?.expires_at;
      };
      const untilMs = Math.ceil(Date.now() / 1000) * 1000 + 60_000;
      const until = (ms: number) => ({ payBy: new Date(ms).toISOString() });
      expect(await endOf(until(untilMs))).toBe(untilMs / 1000 + 31 * 60);
      expect(await endOf(until(untilMs + 1))).toBe(untilMs / 1000 + 31 * 60 + 1);
      expect(await endOf({ payBy: undefined })).toBeGreaterThan(Date.now() / 1000 + 80_000);
    });
  });

  it("findRefund of the order sends the given references only", async () => {
    await withStripe(async (bank, stripe) => {
      const { checkoutUrl, reference } = await bank.openCheckout(request());
      stripe.pay(checkoutUrl);
      const [payment] = await bank.findPayments("o", reference);
      const give = (refundId: string, more: object) =>
        bank.refund({ refundId, paymentId: payment?.paymentId ?? "", amount: euro(1), ...more });
      await give("r-1", {});
      await give("r-2", { orderId: "o-1" });
      expect([...stripe.refunds.values()].map(({ metadata }) => metadata)).toEqual([
        { refund_id: "r-1" },
        { refund_id: "r-2", order_id: "o-1" },
      ]);
    });
  });

  it("finds a refund among several pages, and no unknown one", async () => {
    await withStripe(async (bank, stripe) => {
      const { checkoutUrl, reference } = await bank.openCheckout(request());
      stripe.pay(checkoutUrl);
      const [payment] = await bank.findPayments("o", reference);
      const paymentId = payment?.paymentId ?? "";
      await bank.refund({ refundId: "r-first", paymentId, amount: euro(1) });
      const [first] = stripe.refunds.values();
      for (let at = 0; at < 205; at++) {
        const id = `re_${at}`;
        stripe.refunds.set(id, {
          ...(first as NonNullable<typeof first>),
          id,
          metadata: {},
          status: "failed",
        });
      }
      stripe.asked.length = 0;
      expect(await bank.findRefund?.("r-first", paymentId)).toEqual({ state: "completed" });
      expect(stripe.asked).toHaveLength(3);
      expect(await bank.findRefund?.("r-none", paymentId)).toBeUndefined();
      expect(stripe.asked).toHaveLength(6);
    });
  });

  it.each([
    ["succeeded", null, { state: "completed" }],
    ["pending", null, { state: "pending" }],
    ["requires_action", null, { state: "pending" }],
    ["failed", "lost_or_stolen_card", { state: "failed", reason: "lost_or_stolen_card" }],
    ["canceled", null, { state: "failed", reason: "canceled" }],
    ["failed", "r".repeat(200), { state: "failed", reason: "r".repeat(200) }],
    ["failed", "r".repeat(201), { state: "failed", reason: `${"r".repeat(199)}…` }],
    ["pondered", null, "unclear"],
  ])("reports a refund that is %s for %p as %j", async (status, why, expected) => {
    await withStripe(async (bank, stripe) => {
      const { checkoutUrl, reference } = await bank.openCheckout(request());
      stripe.pay(checkoutUrl);
      const [payment] = await bank.findPayments("o", reference);
      const paymentId = payment?.paymentId ?? "";
      await bank.refund({ refundId: "r-1", paymentId, amount: euro(1) });
      const [refund] = stripe.refunds.values();
      Object.assign(refund ?? {}, { status, ...(why && { failure_reason: why }) });
      const found = await bank.findRefund?.("r-1", paymentId).catch(({ kind }: BankError) => kind);
      expect(found).toStrictEqual(expected);
    });
  });

  it.each([
    ["is paid", {}, {}, [{ amount: euro(2950), refundedMinor: 0 }]],
    ["was given back in part", {}, { latest_charge: { amount_refunded: 950 } }, [{ refundedMinor: 950 }]],
    ["has no charge", {}, { latest_charge: null }, [{ amount: euro(2950) }]],
    ["has a charge that is not reported", {}, { latest_charge: "ch_1" }, [{ amount: euro(2950) }]],
    ["is paid by a way that takes days", { payment_status: "unpaid" }, {}, []],
    ["was of nothing", { payment_intent: null }, {}, []],
    ["has received nothing", {}, { amount_received: 0 }, "unreadable"],
    ["has no name", {}, { id: "" }, "unreadable"],
    ["is in what is no currency", {}, { currency: "xxx" }, "unreadable"],
  ])("reports a payment that %s", async (_, session, intent, expected) => {
    await withStripe(async (bank, stripe) => {
      const { checkoutUrl, reference = "" } = await bank.openCheckout(request());
      stripe.pay(checkoutUrl);
      const [paid] = stripe.intents.values();
      Object.assign(paid ?? {}, intent);
      Object.assign(stripe.sessions.get(reference) ?? {}, session);
      const found = await bank.findPayments("o", reference).catch(({ kind }: BankError) => kind);
      if (typeof expected === "string") return expect(found).toBe(expected);
      expect(found).toMatchObject(expected as object[]);
      const [first] = found as { refundedMinor?: number }[];
      expect(first && Object.hasOwn(first, "refundedMinor")).toBe(
        expected.length > 0 ? Object.hasOwn(expected[0] as object, "refundedMinor") : undefined,
      );
    });
  });

  it("closing a page that is not open has no effect; without a response of Stripe, it is unclear", async () => {
    await withStripe(async (bank, stripe) => {
      const { reference = "" } = await bank.openCheckout(request());
      stripe.mood = 503;
      expect(await kindOf(bank.closeCheckout?.(reference) as Promise<void>)).toBe("unclear");
      expect(stripe.sessions.get(reference)?.status).toBe("open");
      stripe.mood = "well";
      await bank.closeCheckout?.(reference);
      expect(stripe.sessions.get(reference)?.status).toBe("expired");
      expect(await kindOf(bank.closeCheckout?.(reference) as Promise<void>)).toBe("done");
    });
  });

  it("for a page that Stripe no longer shows, returns none", async () => {
    await withStripe(async (bank, stripe) => {
      const asked = request();
      const { reference = "" } = await bank.openCheckout(asked);
      Object.assign(stripe.sessions.get(reference) ?? {}, { url: null });
      expect(await kindOf(bank.openCheckout(asked))).toBe("unclear");
    });
  });

  it("with an order id that could end the search expression, searches for this id alone", async () => {
    await withStripe(async (bank) => {
      const asked = request({ orderId: "o" });
      await bank.openCheckout(asked);
      expect(await bank.findPayments("o' OR status:'succeeded")).toEqual([]);
    });
  });

  it("offers no payment methods whose money takes days, and leaves the others to the Dashboard", async () => {
    await withStripe(async (bank, stripe) => {
      const { reference = "" } = await bank.openCheckout(request());
      const excluded = stripe.sessions.get(reference)?.excluded;
      const late = ["sepa_debit", "us_bank_account", "bacs_debit", "boleto", "konbini", "customer_balance"];
      expect(excluded).toEqual(expect.arrayContaining(late));
      for (const sure of ["card", "twint", "ideal", "paypal"]) expect(excluded).not.toContain(sure);
    });
  });

  it("with a second left to pay, requests no expiry that Stripe refuses", async () => {
    await withStripe(async (bank) => {
      for (const leftMs of [1_000, 1_800_000]) {
        const checkout = bank.openCheckout(request({ payBy: new Date(Date.now() + leftMs).toISOString() }));
        expect(await kindOf(checkout)).toBe("done");
      }
    });
  });

  it("called again under one key with another amount, is refused and does not return the old page", async () => {
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

  it("fails at its time limit", async () => {
    await withStripe(async (bank, stripe) => {
      stripe.mood = "hangs";
      expect(await kindOf(bank.openCheckout(request({ timeoutMs: 100 })))).toBe("unclear");
    });
  });

  it("with an invalid key, fails without the key in the error", async () => {
    const stripe = await startStripe({ key: "sk_test_another", secrets: [secret] });
    const error = await opened(stripe.url)
      .findPayments("o")
      .catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ kind: "unclear", message: expect.stringContaining("401") });
    expect(JSON.stringify([String(error), error])).not.toContain(key);
    await stripe.stop();
  });

  it("finds a refund without a response, and none of another order", async () => {
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
  ])("converts amounts in %s to Stripe's units: %i is %i", async (currency, amountMinor, atStripe) => {
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
    "an amount in %s that Stripe cannot represent, is refused without a request",
    async (currency, amountMinor) => {
      await withStripe(async (bank, stripe) => {
        const checkout = bank.openCheckout(request({ amount: { amountMinor, currency } }));
        expect(await kindOf(checkout)).toBe("refused");
        expect(stripe.asked).toEqual([]);
      });
    },
  );
});
