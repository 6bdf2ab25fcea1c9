import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { Callback } from "../../providers/banks/index.ts";
import { euro, opened, secret } from "../support/stripe-bank.ts";
import { stripeEvent, stripeFixture, stripeSignature } from "../support/stripe-events.ts";

const MUTATIONS = 10_000;
const previous = `whsec_${"p".repeat(32)}`;

describe("Stripe's adapter, given a report", () => {
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
  ])("%s, returns its meaning", (type, event) => {
    const { id } = stripeFixture(type);
    expect(told(JSON.stringify(stripeFixture(type)))).toEqual({
      kind: "event",
      event: { ...event, eventId: id, amount: euro(2950) },
    });
  });

  it.each(["checkout.session.expired", "refund.created", "charge.refunded", "payment_intent.succeeded"])(
    "%s, stores it without an effect",
    (type) => {
      expect(told(JSON.stringify(stripeFixture(type)))).toMatchObject({ kind: "noted" });
    },
  );

  it("a checkout with a payment that takes days, waits for its end", () => {
    const body = stripeEvent("checkout.session.completed", "evt_1", { payment_status: "unpaid" });
    expect(told(body)).toMatchObject({ kind: "noted", eventId: "evt_1" });
  });

  it("a refund that was made at Stripe, returns Stripe's id", () => {
    const body = stripeEvent("refund.updated", "evt_1", { metadata: {} });
    expect(told(body)).toMatchObject({ event: { refundId: "re_3SVqL2B7WZ01zgkW1qRsTuVw", orderId: "" } });
  });

  it("a dispute, returns its payment, its state and whether the money was withdrawn", () => {
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
    ["a dispute without a state", stripeEvent("charge.dispute.created", "e", { status: 7 })],
    ["a dispute without a name", stripeEvent("charge.dispute.created", "e", { id: null })],
    [
      "a dispute without a payment",
      stripeEvent("charge.dispute.created", "e", { payment_intent: null, charge: null }),
    ],
    [
      "a dispute without a time",
      JSON.stringify({ ...stripeFixture("charge.dispute.created"), created: "yesterday" }),
    ],
    [
      "a refund without a payment",
      stripeEvent("refund.updated", "e", { payment_intent: null, charge: null }),
    ],
    ["a refund without a name", stripeEvent("refund.updated", "e", { id: null, metadata: null })],
    ["a refund of nothing", stripeEvent("refund.updated", "e", { amount: 0 })],
    [
      "a failed payment of nothing",
      stripeEvent("checkout.session.async_payment_failed", "e", { amount_total: 0 }),
    ],
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

  it("a dispute with a charge only, returns the charge and omits absent fields", () => {
    const of = (object: object) => told(stripeEvent("charge.dispute.created", "e", { ...object }));
    expect(of({ payment_intent: null, charge: "ch_1" })).toMatchObject({ dispute: { paymentId: "ch_1" } });
    expect(of({ payment_intent: { id: "pi_1" } })).toMatchObject({ dispute: { paymentId: "pi_1" } });
    for (const reason of [7, "", null])
      expect(of({ reason })).toMatchObject({ dispute: { reason: "unknown" } });
    const long = of({ reason: "r".repeat(201) });
    expect(long).toMatchObject({ dispute: { reason: `${"r".repeat(199)}…` } });
    expect(of({ reason: "r".repeat(200) })).toMatchObject({ dispute: { reason: "r".repeat(200) } });
  });

  it.each([
    [undefined, false],
    ["-100", false],
    [[], false],
    [[{ amount: -1 }, {}], true],
    [[{ amount: -2950 }, { amount: 2949 }], true],
    [[{ amount: -2950 }, { amount: 2950 }], false],
  ])(
    "a dispute with the transactions %j, returns whether the money was withdrawn: %s",
    (booked, withdrawn) => {
      const body = stripeEvent("charge.dispute.created", "e", { balance_transactions: booked });
      expect(told(body)).toMatchObject({ dispute: { withdrawn } });
    },
  );

  it("a refund with a charge only, returns the charge", () => {
    const of = (object: object) => told(stripeEvent("refund.updated", "e", { ...object }));
    expect(of({ payment_intent: null, charge: "ch_1" })).toMatchObject({ event: { paymentId: "ch_1" } });
    expect(of({ status: "canceled" })).toMatchObject({ event: { kind: "refund_failed" } });
    const stranger = { metadata: { refund_id: REFUND, order_id: "two words" } };
    expect(of(stranger)).toMatchObject({ event: { orderId: "", refundId: REFUND } });
  });

  it("a checkout that names its order in one place only, finds it", () => {
    const body = stripeEvent("checkout.session.completed", "e", {
      ...{ client_reference_id: null, metadata: { order_id: ORDER }, payment_intent: { id: "pi_1" } },
    });
    expect(told(body)).toMatchObject({ event: { orderId: ORDER, paymentId: "pi_1" } });
  });

  it("a report without an id, gets the same id for the same body", () => {
    const bodies = ['{"type":"refund.updated"}', '{"id":"two words","type":"refund.updated"}', "[]"];
    const ids = bodies.map((body) => {
      const verdict = told(body);
      expect(verdict).toMatchObject({ kind: "unusable", reason: "the body is not an event of Stripe" });
      expect(told(body)).toEqual(verdict);
      return (verdict as { eventId: string }).eventId;
    });
    for (const id of ids) expect(id).toMatch(/^body-[0-9a-f]{64}$/);
    expect(new Set(ids).size).toBe(bodies.length);
    expect(told('{"id":"evt_1","type":7}')).toMatchObject({ kind: "unusable", eventId: "evt_1" });
  });

  it.each([
    ["no signature at all", () => undefined, "unsigned"],
    ["an empty one", () => "", "unsigned"],
    ["no time", (good: string) => good.replace(/^t=\d+,/, ""), "unsigned"],
    ["a time alone", (good: string) => good.replace(/,v1=.*/, ""), "unsigned"],
    ["two times", (good: string) => `${good},t=1`, "wrong"],
    ["a time with a zero in front", (good: string) => good.replace("t=", "t=0"), "wrong"],
    ["another proof", (good: string) => good.replace(/v1=./, "v1=x"), "unsigned"],
    ["more than two thousand characters", (good: string) => good.padEnd(2_001, ",v0=a"), "unsigned"],
  ])("a report with %s, refuses it with the reason", (_, headerOf, reason) => {
    const body = JSON.stringify(stripeFixture("checkout.session.completed"));
    const header = headerOf(stripeSignature(body, [secret]));
    const headers = header === undefined ? {} : { "stripe-signature": header };
    expect(told(body, { headers: headers as Record<string, string> })).toEqual({ kind: "refused", reason });
  });

  it("a report with unknown parts in its signature, accepts it up to the maximum length", () => {
    const body = JSON.stringify(stripeFixture("checkout.session.completed"));
    const good = stripeSignature(body, [secret]);
    for (const header of [`${good},nonsense`, good.padEnd(2_000, ",v0=a")]) {
      expect(told(body, { headers: { "stripe-signature": header } }).kind).toBe("event");
    }
  });

  it("a report up to five minutes early or late, accepts it; beyond that, refuses it as stale", () => {
    const body = JSON.stringify(stripeFixture("checkout.session.completed"));
    const atMs = 1_800_000_000_000;
    const headers = { "stripe-signature": stripeSignature(body, [secret], atMs) };
    for (const apartMs of [300_000, -300_000]) {
      expect(told(body, { headers, now: atMs + apartMs }).kind).toBe("event");
      expect(told(body, { headers, now: atMs + apartMs + Math.sign(apartMs) })).toMatchObject({
        reason: "stale",
      });
    }
  });

  it("two secrets during a rotation: accepts signatures by either, and no others", () => {
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
