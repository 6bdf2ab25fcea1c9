import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { Callback } from "../../providers/banks/index.ts";
import { euro, opened, secret } from "../support/stripe-bank.ts";
import { stripeEvent, stripeFixture, stripeSignature } from "../support/stripe-events.ts";

const MUTATIONS = 10_000;
const previous = `whsec_${"p".repeat(32)}`;

describe("Stripe's adapter, told", () => {
  const bank = opened("http://127.0.0.1:9");
  const told = (body: string, change: Partial<Callback> & { secrets?: string[] } = {}) => {
    const { secrets = [secret], now = Date.now(), ...rest } = change;
    return bank.verify({
      headers: { "stripe-signature": stripeSignature(body, secrets) },
      body,
      now,
      ...rest,
    });
  };
  const ORDER = "0198b000-0000-7000-8000-000000000001";
  const REFUND = "0198b000-0000-8000-8000-00000000000f";
  const PAYMENT = "pi_3SVqL2B7WZ01zgkW1aVb2c3D";

  it.each([
    ["checkout.session.completed", { kind: "paid", paymentId: PAYMENT, orderId: ORDER }],
    ["checkout.session.async_payment_succeeded", { kind: "paid", paymentId: PAYMENT, orderId: ORDER }],
    ["checkout.session.async_payment_failed", { kind: "failed", paymentId: PAYMENT, orderId: ORDER }],
    ["refund.updated", { kind: "refunded", paymentId: PAYMENT, orderId: ORDER, refundId: REFUND }],
    ["refund.failed", { kind: "refund_failed", paymentId: PAYMENT, orderId: ORDER, refundId: REFUND }],
  ])("%s, reads what it means", (type, event) => {
    const { id } = stripeFixture(type);
    expect(told(JSON.stringify(stripeFixture(type)))).toEqual({
      kind: "event",
      event: { ...event, eventId: id, amount: euro(2950) },
    });
  });

  it.each(["checkout.session.expired", "refund.created", "charge.refunded", "payment_intent.succeeded"])(
    "%s, keeps it and does nothing",
    (type) => {
      expect(told(JSON.stringify(stripeFixture(type)))).toMatchObject({ kind: "noted" });
    },
  );

  it("a checkout whose payment takes days, waits for its end", () => {
    const body = stripeEvent("checkout.session.completed", "evt_1", { payment_status: "unpaid" });
    expect(told(body)).toMatchObject({ kind: "noted", eventId: "evt_1" });
  });

  it("a refund that somebody made at Stripe itself, names it by Stripe's id", () => {
    const body = stripeEvent("refund.updated", "evt_1", { metadata: {} });
    expect(told(body)).toMatchObject({ event: { refundId: "re_3SVqL2B7WZ01zgkW1qRsTuVw", orderId: "" } });
  });

  it("a dispute, names its payment, its state and whether the money was taken", () => {
    const body = JSON.stringify(stripeFixture("charge.dispute.created"));
    expect(told(body)).toEqual({
      kind: "disputed",
      eventId: "evt_1SVqL9B7WZ01zgkWAbCdEfGh",
      dispute: {
        disputeId: "dp_1",
        paymentId: "pi_3SVqL2B7WZ01zgkW1aVb2c3D",
        amount: { amountMinor: 2950, currency: "EUR" },
        reason: "fraudulent",
        state: "open",
        withdrawn: false,
        at: "2025-11-24T16:00:09.000Z",
      },
    });
    const taken = [{ amount: -2950 }];
    const given = [...taken, { amount: 2950 }];
    const of = (object: object) => told(stripeEvent("charge.dispute.created", "e", { ...object }));
    expect(of({ balance_transactions: taken, status: "lost" })).toMatchObject({
      dispute: { state: "lost", withdrawn: true },
    });
    expect(of({ balance_transactions: given, status: "won" })).toMatchObject({
      dispute: { state: "won", withdrawn: false },
    });
    expect(of({ status: "warning_closed" })).toMatchObject({ dispute: { state: "closed" } });
  });

  it.each([
    ["a dispute of no state that we know", stripeEvent("charge.dispute.created", "e", { status: "new" })],
    ["a dispute of nothing", stripeEvent("charge.dispute.created", "e", { amount: 0 })],
    ["no JSON", "{"],
    ["no event", "[]"],
    [
      "no order",
      stripeEvent("checkout.session.completed", "e", { client_reference_id: null, metadata: null }),
    ],
    ["no payment", stripeEvent("checkout.session.completed", "e", { payment_intent: null })],
    ["no amount", stripeEvent("checkout.session.completed", "e", { amount_total: null })],
    ["an amount of nothing", stripeEvent("checkout.session.completed", "e", { amount_total: 0 })],
    [
      "half an amount",
      stripeEvent("checkout.session.completed", "e", { currency: "isk", amount_total: 150 }),
    ],
    ["a name out of Object.prototype", JSON.stringify({ id: "e", type: "constructor" })],
  ])("%s, genuine, is never dropped", (what, body) => {
    const { kind } = told(body);
    expect(kind).toBe(what.startsWith("a name") ? "noted" : "unusable");
  });

  it("two secrets while one is rolled: what either signed is genuine, and nothing else", () => {
    const body = JSON.stringify(stripeFixture("checkout.session.completed"));
    const rolling = opened("http://127.0.0.1:9", { webhookSecretPrevious: previous });
    const by = (secrets: string[]) =>
      rolling.verify({
        headers: { "stripe-signature": stripeSignature(body, secrets) },
        body,
        now: Date.now(),
      });
    for (const secrets of [[secret], [previous], [secret, previous], ["whsec_other", previous]]) {
      expect(by(secrets).kind).toBe("event");
    }
    expect(by(["whsec_other"])).toEqual({ kind: "refused", reason: "wrong" });
    expect(told(body, { secrets: [previous] })).toEqual({ kind: "refused", reason: "wrong" });
  });

  it("a signature of another scheme only, or two times, is refused", () => {
    const body = JSON.stringify(stripeFixture("checkout.session.completed"));
    const good = stripeSignature(body, [secret]);
    for (const header of [good.replace("v1=", "v0="), `${good},t=1`, `t=1,${good}`, "t=,v1=", "", "v1=a"]) {
      expect(told(body, { headers: { "stripe-signature": header } }).kind).toBe("refused");
    }
    expect(told(body, { headers: { "stripe-signature": `${good},v0=abc` } }).kind).toBe("event");
  });

  it(`of ${MUTATIONS} mutations of a signed report, refuses every one`, () => {
    const body = JSON.stringify(stripeFixture("checkout.session.completed"));
    const header = stripeSignature(body, [secret]);
    const now = Date.now();
    const character = fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code));
    const mutationOf = (text: string) =>
      fc.record({
        at: fc.nat(text.length - 1),
        how: fc.constantFrom("replace", "remove", "insert", "swap", "cut", "double"),
        character,
      });
    const apply = (text: string, { at, how, character }: { at: number; how: string; character: string }) => {
      const [before, after] = [text.slice(0, at), text.slice(at + 1)];
      if (how === "replace") return before + character + after;
      if (how === "remove") return before + after;
      if (how === "insert") return before + character + text.slice(at);
      if (how === "swap") return before + (text[at + 1] ?? "") + (text[at] ?? "") + text.slice(at + 2);
      return how === "cut" ? before : text + text.slice(at);
    };
    let tried = 0;
    fc.assert(
      fc.property(
        fc.oneof(
          mutationOf(body).map((one) => ({ header, body: apply(body, one) })),
          mutationOf(header).map((one) => ({ header: apply(header, one), body })),
        ),
        (changed) => {
          if (changed.header === header && changed.body === body) return;
          tried += 1;
          const headers = { "stripe-signature": changed.header };
          const { kind } = bank.verify({ headers, body: changed.body, now });
          // More signatures beside the right one, or parts that mean nothing, change nothing of what was signed.
          if (kind === "refused") return;
          expect(changed.body).toBe(body);
          for (const part of header.split(",")) expect(changed.header.split(",")).toContain(part);
        },
      ),
      { numRuns: MUTATIONS * 1.1 },
    );
    expect(tried).toBeGreaterThanOrEqual(MUTATIONS);
  });
});
