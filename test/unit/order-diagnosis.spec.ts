import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { diagnosisCause } from "../../contracts/order-diagnosis.ts";
import type { WebhookDelivery } from "../../contracts/partners.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { type Evidence, explainOrder } from "../../services/orders/domain/order-diagnosis.ts";
import type { Order } from "../../services/orders/domain/order-model.ts";

const NOW_MS = Date.parse("2026-11-30T12:00:00Z");
const MINUTE_MS = 60_000;
const ago = (minutes: number) => isoTime(NOW_MS - minutes * MINUTE_MS);
const partner = { id: newId(), title: "Bakery", phone: "+4930123456" };

function found(order: Partial<Order>, more: Partial<Evidence> = {}) {
  const base = { partner, status: "pending", paidMinor: 0, currency: "EUR", totalMinor: 500 };
  return explainOrder({
    order: {
      ...base,
      id: newId(),
      updatedAt: ago(1),
      checkoutUrl: "https://bank.example/1",
      ...order,
    } as Order,
    nowMs: NOW_MS,
    ...{
      bank: { looks: 1, answeredAt: ago(1) },
      refunds: [],
      messages: [],
      couriersOnDuty: 0,
      brokerReady: true,
    },
    ...more,
  });
}

const message = { messageId: newId(), type: "order.paid", attempts: 3, since: ago(5) } as const;
const paid = { status: "paid", partnerNotifiedAt: ago(4) } as const;
const attempt = (state: WebhookDelivery["state"], more: Partial<WebhookDelivery> = {}): WebhookDelivery => ({
  ...{ id: newId(), messageId: "m1", type: "order.paid", attempt: 1, state, createdAt: ago(3) },
  ...more,
});

const cases: [cause: string, findings: ReturnType<typeof found>, sentence: RegExp, next: RegExp][] = [
  [
    "dead_letter",
    found(paid, {
      messages: [
        {
          ...message,
          service: "partners",
          place: "inbox",
          state: "dead",
          deadLetterId: "d1",
          error: "broken",
        },
      ],
    }),
    /^order\.paid is a dead letter of Partners/,
    /"replay d1".*POST \/dead-letters\/partners:d1\/replay/,
  ],
  [
    "webhook_failing",
    found(paid, {
      webhooks: {
        endpoint: "enabled",
        deliveries: [
          attempt("pending", { attempt: 2, dueAt: ago(-1) }),
          attempt("failed", { statusCode: 500 }),
        ],
      },
    }),
    /^The system of Bakery does not accept order\.paid; the platform tries again/,
    /Call the partner/,
  ],
  [
    "webhook_dead",
    found(paid, { webhooks: { endpoint: "enabled", deliveries: [attempt("dead", { error: "no answer" })] } }),
    /did not accept order\.paid in any attempt/,
    /replay /,
  ],
  [
    "webhook_disabled",
    found(paid, { webhooks: { endpoint: "gone", deliveries: [] } }),
    /answered 410 Gone/,
    /PUT \/partners\/.*\/webhook/,
  ],
  [
    "broker_away",
    found(paid, { brokerReady: false, messages: [{ ...message, service: "orders", place: "outbox" }] }),
    /^NATS cannot be reached, so order\.paid waits in the outbox of Orders/,
    /sent by itself/,
  ],
  [
    "message_unsent",
    found(paid, { messages: [{ ...message, service: "partners", place: "outbox" }] }),
    /waits in the outbox of Partners/,
    /\/readyz/,
  ],
  [
    "document_store_away",
    found(paid, {
      messages: [{ ...message, service: "notifications", place: "inbox", waitsForDependency: true }],
    }),
    /^The document store cannot be reached, so Notifications has not handled order\.paid/,
    /by itself/,
  ],
  [
    "message_unhandled",
    found(paid, { messages: [{ ...message, service: "partners", place: "inbox", error: "locked" }] }),
    /waits in the inbox of Partners/,
    /cause that the error names/,
  ],
  [
    "refund_failed",
    found({ status: "cancelled" }, { refunds: [{ id: "r1", state: "failed", amountMinor: 5, error: "no" }] }),
    /^The bank refused a refund/,
    /retry-refund r1/,
  ],
  [
    "refund_failing",
    found({ status: "cancelled" }, { refunds: [{ id: "r1", state: "sent", amountMinor: 5, error: "503" }] }),
    /the last request to the bank failed/,
    /bank can be reached/,
  ],
  [
    "deadline_failing",
    found(paid, { deadline: { at: ago(2), effect: "is cancelled", failures: 3, error: "broken" } }),
    /could not be applied/,
    /by itself/,
  ],
  [
    "bank_silent",
    found({}, { bank: { looks: 4, silentSince: ago(9), error: "timeout" } }),
    /^The bank has not answered since 2026-11-30 11:51:00 UTC/,
    /status page/,
  ],
  ["checkout_missing", found({ checkoutUrl: undefined }), /made no checkout/, /Idempotency-Key/],
  [
    "payment_unreadable",
    found({}, { bank: { looks: 2, answeredAt: ago(1), error: "a payment cannot be read" } }),
    /could not be used: a payment cannot be read/,
    /own page/,
  ],
  ["partially_paid", found({ paidMinor: 200 }), /^Only 200 of 500/, /pay the rest/],
  [
    "no_callback",
    found({}, { bank: { looks: 0, nextAt: ago(-2) } }),
    /^No callback/,
    /asks the bank at 2026/,
  ],
  ["not_paid", found({}), /^The bank says that nothing is paid/, /has not paid/],
  [
    "partner_not_notified",
    found({ status: "paid" }, { noticeProblem: "EMFILE" }),
    /^Bakery was not notified of the paid order yet: EMFILE/,
    /time to accept begins/,
  ],
  [
    "partner_silent",
    found(paid, { deadline: { at: ago(-6), effect: "is cancelled and refunded" } }),
    /has not accepted the order; it waits until 2026-11-30 12:06:00 UTC, then it is cancelled and refunded/,
    /\+4930123456/,
  ],
  ["preparing", found({ status: "preparing", readyAt: ago(3) }), /promised it for/, /It is late: call/],
  [
    "offered",
    found({ status: "ready", offeredTo: "c1", offerUntil: ago(-0.5) }, { couriersOnDuty: 2 }),
    /is offered to courier c1/,
    /next courier/,
  ],
  [
    "no_courier_on_duty",
    found({ status: "ready", readySince: ago(7) }),
    /no courier is on duty/,
    /assign .* <courier>/,
  ],
  ["not_assigned", found({ status: "ready" }, { couriersOnDuty: 3 }), /none of the 3 couriers/, /Assign it/],
  [
    "courier_silent",
    found({ status: "delivering", delivererId: "c1" }, { positionAt: ago(8) }),
    /reported no position since 2026-11-30 11:52:00/,
    /Call the courier/,
  ],
  ["delivering", found({ status: "delivering", delivererId: "c1" }), /is on the way/, /^Nothing/],
  [
    "undeliverable",
    found({ status: "failed", reason: "Nobody opened." }),
    /: Nobody opened\./,
    /Talk to the customer/,
  ],
  ["ended", found({ status: "delivered", closedAt: ago(60) }), /^The order is delivered since/, /^Nothing/],
];

describe("the diagnosis of an order", () => {
  it.each(cases)("%s: has a sentence and the next act", (cause, [first], sentence, next) => {
    expect(first.cause).toBe(cause);
    expect(first.sentence).toMatch(sentence);
    expect(first.next).toMatch(next);
  });

  it("has a case for every cause", () => {
    expect(cases.map(([cause]) => cause).sort()).toEqual([...diagnosisCause.values].sort());
  });

  it("has every cause in the table for operators", () => {
    const page = readFileSync(resolve(import.meta.dirname, "../../docs/operating.md"), "utf8");
    expect(diagnosisCause.values.filter((cause) => !page.includes(`\`${cause}\``))).toEqual([]);
  });

  it("ends with what the state waits for, after all reasons why it does not go on", () => {
    const dead = {
      ...message,
      service: "partners",
      place: "inbox",
      state: "dead",
      deadLetterId: "d1",
    } as const;
    const unsent = { ...message, service: "orders", place: "outbox" } as const;
    expect(found(paid, { messages: [unsent, dead] }).map(({ cause }) => cause)).toEqual([
      "dead_letter",
      "message_unsent",
      "partner_silent",
    ]);
  });

  it("does not name a message that is on its way for less than ten seconds", () => {
    const young = { ...message, service: "orders", place: "outbox", since: ago(0.1) } as const;
    expect(found(paid, { messages: [young] }).map(({ cause }) => cause)).toEqual(["partner_silent"]);
  });

  it("says nothing of an accepted webhook, also after a failed attempt", () => {
    const deliveries = [attempt("accepted", { attempt: 2 }), attempt("failed", { statusCode: 500 })];
    expect(found(paid, { webhooks: { endpoint: "enabled", deliveries } })[0].cause).toBe("partner_silent");
  });

  it("shows attempts, the last answer and the next attempt of a failing webhook", () => {
    const deliveries = [
      attempt("pending", { attempt: 3, dueAt: ago(-1) }),
      attempt("failed", { attempt: 2, statusCode: 503 }),
      attempt("failed", { error: "no answer" }),
    ];
    expect(found(paid, { webhooks: { endpoint: "enabled", deliveries } })[0].evidence).toEqual([
      "attempts: 2",
      "last answer: status 503",
      "next attempt: 2026-11-30 12:01:00 UTC",
    ]);
  });

  it("shows the evidence of each reason, with times in UTC and errors of at most 200 characters", () => {
    const [error, shown] = ["e".repeat(250), `error: ${"e".repeat(199)}…`];
    const late = { ...message, error, nextAt: ago(-2) };
    const first = (...args: Parameters<typeof found>) => found(...args)[0].evidence;
    const inbox = { ...late, service: "partners", place: "inbox", consumer: "stock" } as const;
    const waiting = ["consumer: stock", "attempts: 3", "next attempt: 2026-11-30 12:02:00 UTC", shown];
    expect(first(paid, { messages: [{ ...inbox, state: "dead", deadLetterId: "d1" }] })).toEqual([
      ...["consumer: stock", "attempts: 3", "since: 2026-11-30 11:55:00 UTC", shown],
    ]);
    expect(first(paid, { messages: [inbox] })).toEqual(waiting);
    expect(first(paid, { messages: [{ ...inbox, waitsForDependency: true }] })).toEqual(waiting);
    expect(first(paid, { messages: [{ ...late, service: "orders", place: "outbox" }] })).toEqual(
      waiting.slice(1),
    );
    const refund = (state: string) => ({ refunds: [{ id: "r1", state, amountMinor: 5, error }] });
    const money = ["refund: r1", "amount in minor units: 5 EUR", shown];
    expect(first({ status: "cancelled" }, refund("failed"))).toEqual(money);
    expect(first({ status: "cancelled" }, refund("sent"))).toEqual(money);
    const deadline = { at: ago(2), effect: "is cancelled", failures: 3, error, retryAt: ago(-3) };
    expect(first(paid, { deadline })).toEqual([
      "failures: 3",
      "next attempt: 2026-11-30 12:03:00 UTC",
      shown,
    ]);
    expect(first({}, { bank: { looks: 0, error, nextAt: ago(-2) } })).toEqual([
      ...["polls: 0", "last answer: none", "next poll: 2026-11-30 12:02:00 UTC", shown],
    ]);
    expect(found({ paidMinor: 1 })[0]).toMatchObject({
      cause: "partially_paid",
      evidence: ["polls: 1", "last answer: 2026-11-30 11:59:00 UTC"],
    });
    expect(first(paid)).toEqual(["notified: 2026-11-30 11:56:00 UTC"]);
    expect(first({ status: "ready" })).toEqual(["couriers on duty: 0"]);
    expect(first({ status: "delivering", delivererId: "c1" })).toEqual([
      ...["courier: c1", "picked up: not yet", "last position: none"],
    ]);
    const carried = { status: "delivering", delivererId: "c1", pickedUpAt: ago(3) } as const;
    expect(first(carried, { positionAt: ago(2) })).toEqual([
      "courier: c1",
      "picked up: 2026-11-30 11:57:00 UTC",
      "last position: 2026-11-30 11:58:00 UTC",
    ]);
    expect(first({ status: "expired", reason: "r".repeat(250) })).toEqual([`reason: ${"r".repeat(199)}…`]);
  });

  it("names what is not known, and leaves out what is not there", () => {
    const sentence = (...args: Parameters<typeof found>) => found(...args)[0].sentence;
    const unsent = { ...message, service: "orders", place: "outbox", since: undefined } as never;
    expect(sentence(paid, { messages: [unsent] })).toBe(
      "order.paid waits in the outbox of Orders: it was not sent yet.",
    );
    const foreign = { ...message, service: "partners", place: "outbox" } as const;
    expect(sentence(paid, { brokerReady: false, messages: [foreign] })).toBe(
      "order.paid waits in the outbox of Partners since 2026-11-30 11:55:00 UTC: it was not sent yet.",
    );
    expect(found(paid, { messages: [{ ...foreign, place: "inbox" }] })[0].next).toMatch(
      /^See whether Partners/,
    );
    expect(sentence({ status: "paid" })).toMatch(/: the reason is not known\.$/);
    expect(sentence({ status: "paid", noticeProblem: "own" }, { noticeProblem: "other" })).toMatch(
      /: own\.$/,
    );
    expect(sentence({ status: "preparing" })).toBe("Bakery prepares the order.");
    const silent = { ...partner, phone: undefined } as never;
    expect(found({ ...paid, partner: silent })[0].next).toBe("Call the partner.");
    const overdue = { status: "preparing", readyAt: ago(1) } as const;
    expect(found(overdue)[0].next).toBe("It is late: call the partner at +4930123456.");
    expect(found({ ...overdue, partner: silent })[0].next).toBe("It is late: call the partner.");
    expect(sentence({ status: "failed" })).toBe("The deliverer could not hand the order over.");
    expect(sentence({ status: "expired" })).toBe("The order is expired.");
    expect(found({}, { bank: { looks: 0 } })[0].next).toMatch(/^Look for the payment/);
    expect(sentence({ status: "ready", offerUntil: ago(-1) })).toBe(
      "The order is ready, and no courier is on duty.",
    );
    const carried = { status: "delivering", delivererId: "c1", updatedAt: ago(6) } as const;
    expect(sentence(carried)).toMatch(/^Courier c1 has .* no position since 2026-11-30 11:54:00 UTC\.$/);
  });

  it("changes after its moment, not at it", () => {
    const cause = (...args: Parameters<typeof found>) => found(...args)[0].cause;
    const sent = (since: string) => ({
      messages: [{ ...message, service: "orders", place: "outbox", since } as const],
    });
    const earlier = (ms: number) => isoTime(NOW_MS - ms);
    expect([cause(paid, sent(earlier(10_000))), cause(paid, sent(earlier(10_001)))]).toEqual([
      ...["partner_silent", "message_unsent"],
    ]);
    const carried = { status: "delivering", delivererId: "c1" } as const;
    expect([300_000, 300_001].map((ms) => cause(carried, { positionAt: earlier(ms) }))).toEqual([
      ...["delivering", "courier_silent"],
    ]);
    const next = (ms: number) => found({ status: "preparing", readyAt: earlier(ms) })[0].next;
    expect(next(0)).toMatch(/^Nothing/);
    expect(next(1)).toMatch(/^It is late/);
  });

  it("looks at the newest attempt of each webhook, and at the endpoint only if none failed", () => {
    const causes = (
      endpoint: "enabled" | "disabled",
      deliveries: WebhookDelivery[],
      order: Partial<Order> = paid,
    ) => found(order, { webhooks: { endpoint, deliveries } }).map((one) => one.cause);
    const failed = attempt("failed", { error: "no answer" });
    const [state] = ["partner_silent"];
    expect(causes("disabled", [failed])).toEqual(["webhook_failing", state]);
    expect(causes("disabled", [])).toEqual(["webhook_disabled", state]);
    expect(causes("disabled", [], { status: "preparing" })).toEqual(["preparing"]);
    expect(causes("enabled", [attempt("pending", { dueAt: ago(-1) })])).toEqual([state]);
    expect(causes("enabled", [attempt("stopped", { attempt: 2 }), failed])).toEqual([state]);
    // Of two deliveries of one attempt, the first in the list is the newest.
    expect(causes("enabled", [attempt("accepted"), failed])).toEqual([state]);
    expect(causes("enabled", [failed, attempt("accepted", { attempt: 2 })])).toEqual([state]);
    const evidence = (delivery: WebhookDelivery) =>
      found(paid, { webhooks: { endpoint: "enabled", deliveries: [delivery, failed] } })[0].evidence;
    const none = ["attempts: 1", "last answer: no answer", "next attempt: none"];
    expect(evidence(attempt("pending", { attempt: 2 }))).toEqual(none);
    expect(
      found(paid, { webhooks: { endpoint: "enabled", deliveries: [{ ...failed, dueAt: ago(1) }] } })[0]
        .evidence,
    ).toEqual(none);
    expect(
      found(paid, { webhooks: { endpoint: "enabled", deliveries: [attempt("failed")] } })[0].evidence[1],
    ).toBe("last answer: none");
  });

  it("says nothing of a refund that is under way or done", () => {
    const refund = (state: string, error?: string) => ({
      id: "r1",
      state,
      amountMinor: 5,
      ...(error && { error }),
    });
    const refunds = [refund("sent"), refund("completed", "503")];
    expect(found({ status: "cancelled" }, { refunds }).map(({ cause }) => cause)).toEqual(["ended"]);
  });
});
