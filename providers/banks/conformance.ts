import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import type { Bank, BankEvent, Callback } from "./port.ts";

/** A bank as the suite needs it: its adapter, a paying customer, and its reports. */
export interface BankFixture {
  bank: Bank;
  /** The same adapter with another webhook secret than the bank's. */
  stranger: Bank;
  /** Pays the amount on the bank's page. @returns the report that the bank then sends, unchanged */
  pay(checkoutUrl: string, amountMinor: number): Promise<Omit<Callback, "now">>;
  /** The next report that the bank sends. */
  nextReport(): Promise<Omit<Callback, "now">>;
  stop(): Promise<void>;
}

const equal = (actual: unknown, expected: unknown) => expect(actual).toEqual(expected);
const TOLERANCE_MS = 300_000;
const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });

/** The conformance suite of every bank. Call it inside a `describe`. */
export function bankConformance(start: () => Promise<BankFixture>): void {
  let fixture: BankFixture;
  beforeAll(async () => {
    fixture = await start();
  });
  afterAll(() => fixture.stop());

  const request = (orderId: string, amountMinor = 1250) => ({
    orderId,
    amount: euro(amountMinor),
    idempotencyKey: orderId,
    callbackUrl: "http://127.0.0.1:9/callback",
    description: "Bread & butter — “zwei”",
  });
  const eventOf = (report: Omit<Callback, "now">, nowMs = Date.now()): BankEvent => {
    const verdict = fixture.bank.verify({ ...report, now: nowMs });
    if (verdict.kind !== "event") throw new Error(`not an event: ${JSON.stringify(verdict)}`);
    return verdict.event;
  };
  const paid = async (amountMinor = 1250) => {
    const orderId = newId();
    const { checkoutUrl, reference } = await fixture.bank.openCheckout(request(orderId, amountMinor));
    const report = await fixture.pay(checkoutUrl, amountMinor);
    return { orderId, reference, report, event: eventOf(report) };
  };

  it("openCheckout, called twice with one key, opens one page", async () => {
    const orderId = newId();
    const [first, again] = [
      await fixture.bank.openCheckout(request(orderId)),
      await fixture.bank.openCheckout(request(orderId)),
    ];
    equal(again, first);
    equal(URL.canParse(first.checkoutUrl), true);
    equal((await fixture.bank.openCheckout(request(newId()))).checkoutUrl === first.checkoutUrl, false);
  });

  it("verify, of a genuine report, returns the amount and the order", async () => {
    const { orderId, event } = await paid();
    equal(
      { orderId: event.orderId, amount: event.amount, kind: event.kind },
      { orderId, amount: euro(1250), kind: "paid" },
    );
    equal([event.eventId.length > 0, event.paymentId.length > 0], [true, true]);
  });

  it("verify, of a report that is too old or from the future, refuses it as stale", async () => {
    const { report } = await paid();
    for (const shiftMs of [TOLERANCE_MS + 2_000, -TOLERANCE_MS - 2_000]) {
      equal(fixture.bank.verify({ ...report, now: Date.now() + shiftMs }), {
        kind: "refused",
        reason: "stale",
      });
    }
    equal(fixture.bank.verify({ ...report, now: Date.now() + TOLERANCE_MS - 10_000 }).kind, "event");
  });

  it("verify, of a report that was changed in any place, refuses it", async () => {
    const { report } = await paid();
    const now = Date.now();
    const accepted: string[] = [];
    const attempt = (what: string, changed: Omit<Callback, "now">) => {
      if (fixture.bank.verify({ ...changed, now }).kind !== "refused") accepted.push(what);
    };
    for (let at = 0; at < report.body.length; at++) {
      const body =
        report.body.slice(0, at) + (report.body[at] === "0" ? "1" : "0") + report.body.slice(at + 1);
      attempt(`body at ${at}`, { ...report, body });
      attempt(`body without ${at}`, {
        ...report,
        body: report.body.slice(0, at) + report.body.slice(at + 1),
      });
    }
    attempt("body with a space more", { ...report, body: `${report.body} ` });
    for (const header of signed(report.headers)) {
      const value = report.headers[header] as string;
      for (let at = 0; at < value.length; at++) {
        const changed = value.slice(0, at) + (value[at] === "1" ? "2" : "1") + value.slice(at + 1);
        attempt(`${header} at ${at}`, { ...report, headers: { ...report.headers, [header]: changed } });
      }
      attempt(`${header} with more`, { ...report, headers: { ...report.headers, [header]: `${value}x` } });
      const { [header]: _, ...others } = report.headers;
      attempt(`without ${header}`, { ...report, headers: others });
    }
    attempt("unsigned", { ...report, headers: {} });
    equal(accepted, []);
  });

  it("verify, of a report signed for another merchant, refuses it", async () => {
    const { report } = await paid();
    equal(fixture.stranger.verify({ ...report, now: Date.now() }), { kind: "refused", reason: "wrong" });
  });

  it("findPayments returns all payments of an order and none of another", async () => {
    const { orderId, reference, event } = await paid(800);
    const { paymentId } = event;
    const theirs = [{ paymentId, amount: euro(800), refundedMinor: 0 }];
    equal(await fixture.bank.findPayments(orderId, reference), theirs);
    equal(await fixture.bank.findPayments(orderId), theirs);
    equal(await fixture.bank.findPayments(newId()), []);
    const unpaid = await fixture.bank.openCheckout(request(newId()));
    equal(await fixture.bank.findPayments(newId(), unpaid.reference), []);
    await fixture.bank.refund({ refundId: newId(), paymentId, amount: euro(300) });
    equal(await fixture.bank.findPayments(orderId, reference), [{ ...theirs[0], refundedMinor: 300 }]);
    eventOf(await fixture.nextReport());
  });

  it("closeCheckout, of an open, a closed and a paid page, succeeds and keeps the payment", async () => {
    const { closeCheckout } = fixture.bank;
    if (!closeCheckout) return;
    const { reference = "" } = await fixture.bank.openCheckout(request(newId()));
    await closeCheckout(reference);
    await closeCheckout(reference);
    const done = await paid();
    await closeCheckout(done.reference ?? "");
    equal((await fixture.bank.findPayments(done.orderId, done.reference)).length, 1);
  });

  it("refund, called twice with one id, refunds once and reports it", async () => {
    const { event } = await paid();
    const refund = { refundId: newId(), paymentId: event.paymentId, amount: euro(1000) };
    const answers = [await fixture.bank.refund(refund), await fixture.bank.refund(refund)];
    for (const { state } of answers) equal(["completed", "pending"].includes(state), true);
    const report = eventOf(await fixture.nextReport());
    equal(
      { kind: report.kind, refundId: report.refundId, amount: report.amount },
      { kind: "refunded", refundId: refund.refundId, amount: euro(1000) },
    );
    // A second refund would have left too little for the rest.
    const rest = { refundId: newId(), paymentId: event.paymentId, amount: euro(250) };
    equal((await fixture.bank.refund(rest)).state === "failed", false);
  });

  it("refund, of more than is left or of an unknown payment, is refused", async () => {
    const { event } = await paid();
    for (const wrong of [
      { refundId: newId(), paymentId: event.paymentId, amount: euro(1251) },
      { refundId: newId(), paymentId: "no-such-payment", amount: euro(1) },
    ]) {
      equal(await outcomeOf(fixture.bank.refund(wrong)), "refused");
    }
  });

  it("findRefund returns the state of a refund, and undefined for an unknown one", async () => {
    if (!fixture.bank.findRefund) return;
    const { event } = await paid();
    const refundId = newId();
    equal(await fixture.bank.findRefund(refundId, event.paymentId), undefined);
    const { state } = await fixture.bank.refund({ refundId, paymentId: event.paymentId, amount: euro(100) });
    equal((await fixture.bank.findRefund(refundId, event.paymentId))?.state, state);
  });
}

/** The headers that may belong to the signature. */
function signed(headers: Callback["headers"]): string[] {
  return Object.keys(headers).filter((name) => /signature|timestamp|^webhook-/.test(name));
}

/** Whether the bank refused, by an error or by a state. */
async function outcomeOf(refund: Promise<{ state: string }>): Promise<string> {
  return refund.then(
    ({ state }) => (state === "failed" ? "refused" : state),
    ({ kind }: { kind: string }) => kind,
  );
}
