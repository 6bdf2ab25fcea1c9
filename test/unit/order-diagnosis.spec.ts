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
});
