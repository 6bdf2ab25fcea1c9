import type { UndeliveredMessage } from "../../../contracts/dead-letters.ts";
import type { DiagnosisCause, DiagnosisFinding } from "../../../contracts/order-diagnosis.ts";
import type { WebhookDelivery, WebhookEndpointState } from "../../../contracts/partners.ts";
import { shortenLine } from "../../../lib/text.ts";
import { awaitsNotice, type Order } from "./order-model.ts";

/** A message that is younger is on its normal way and explains nothing. */
const MESSAGE_LATE_MS = 10_000;
/** A courier reports a position every few seconds. */
const COURIER_SILENT_MS = 5 * 60_000;
const ERROR_SHOWN_MAX = 200;

/** Everything that is known about an order, from all services that could be asked. */
export interface Evidence {
  order: Order;
  nowMs: number;
  /** When the deadline of the present state passes, and what happens then. */
  deadline?: { at: string; effect: string; failures?: number; error?: string; retryAt?: string } | undefined;
  /** Of a paid order whose partner is not notified: the reason that this database shows. */
  noticeProblem?: string | undefined;
  /** The polls of the bank. */
  bank: { silentSince?: string; error?: string; answeredAt?: string; looks: number; nextAt?: string };
  refunds: readonly { id: string; state: string; amountMinor: number; error?: string }[];
  messages: readonly UndeliveredMessage[];
  /** The webhooks of this order, the newest first. Absent: Partners could not be asked. */
  webhooks?: { endpoint: WebhookEndpointState; deliveries: readonly WebhookDelivery[] } | undefined;
  couriersOnDuty: number;
  positionAt?: string | undefined;
  /** Whether NATS, or the bus within the process, takes messages now. */
  brokerReady: boolean;
}

/**
 * Why an order does not go on, the most important reason first. The last one is always what the order's state waits for, so
 * there is at least one. Each has a sentence, its evidence and what an operator does next.
 */
export function explainOrder(evidence: Evidence): [DiagnosisFinding, ...DiagnosisFinding[]] {
  const all = [
    ...deadLetterFindings(evidence),
    ...webhookFindings(evidence),
    ...messageFindings(evidence),
    ...refundFindings(evidence),
    ...deadlineFindings(evidence),
    stateFinding(evidence),
  ];
  return all as [DiagnosisFinding, ...DiagnosisFinding[]];
}

function finding(cause: DiagnosisCause, sentence: string, next: string, evidence: string[] = []) {
  return { cause, sentence, next, evidence };
}

function deadLetterFindings({ messages }: Evidence): DiagnosisFinding[] {
  return messages
    .filter(({ state }) => state === "dead")
    .map(({ service = "", consumer, type, error, attempts, since, deadLetterId = "" }) =>
      finding(
        "dead_letter",
        `${type} is a dead letter of ${nameOf(service)}, so its effect is missing.`,
        `Remove the cause, then replay it: "replay ${deadLetterId}" in the console, or POST /dead-letters/${service}:${deadLetterId}/replay.`,
        facts([
          ["consumer", consumer],
          ["attempts", String(attempts)],
          ["since", since, shown],
          ["error", error, short],
        ]),
      ),
    );
}

function messageFindings({ messages, nowMs, brokerReady }: Evidence): DiagnosisFinding[] {
  const late = messages.filter(
    ({ state, since }) => state !== "dead" && (!since || Date.parse(since) < nowMs - MESSAGE_LATE_MS),
  );
  return late.map((message) => {
    const { service = "orders", place, consumer, type, error, attempts, since, nextAt } = message;
    const evidence = facts([
      ["consumer", consumer],
      ["attempts", String(attempts)],
      ["next attempt", nextAt, shown],
      ["error", error, short],
    ]);
    const waits = since ? ` since ${shown(since)}` : "";
    if (place === "outbox") {
      return brokerReady || service !== "orders"
        ? finding(
            "message_unsent",
            `${type} waits in the outbox of ${nameOf(service)}${waits}: it was not sent yet.`,
            `See whether ${nameOf(service)} runs and reaches NATS: /readyz of its process, and "outbox" in the console.`,
            evidence,
          )
        : finding(
            "broker_away",
            `NATS cannot be reached, so ${type} waits in the outbox of Orders${waits}.`,
            "Bring NATS back; the message is sent by itself within seconds.",
            evidence,
          );
    }
    if (message.waitsForDependency) {
      return finding(
        "document_store_away",
        `The document store cannot be reached, so ${nameOf(service)} has not handled ${type}${waits}.`,
        "Bring the document store back; the message is handled by itself within seconds.",
        evidence,
      );
    }
    return finding(
      "message_unhandled",
      `${type} waits in the inbox of ${nameOf(service)}${waits}: it was not handled yet.`,
      error
        ? "Remove the cause that the error names; the message is tried again by itself."
        : `See whether ${nameOf(service)} runs: /readyz of its process.`,
      evidence,
    );
  });
}

/** Only the latest attempt of each message counts. */
function webhookFindings({ order, webhooks, nowMs }: Evidence): DiagnosisFinding[] {
  if (!webhooks) return [];
  const latest = new Map<string, WebhookDelivery>();
  for (const delivery of webhooks.deliveries) {
    const known = latest.get(delivery.messageId);
    if (!known || known.attempt < delivery.attempt) latest.set(delivery.messageId, delivery);
  }
  const findings: DiagnosisFinding[] = [];
  for (const delivery of latest.values()) {
    const answers = webhooks.deliveries
      .filter(({ messageId }) => messageId === delivery.messageId)
      .filter(({ state }) => state === "failed" || state === "dead");
    const [last] = answers;
    const { state, type, dueAt, id } = delivery;
    if (state === "accepted" || state === "stopped" || !last) continue;
    const evidence = facts([
      ["attempts", String(answers.length)],
      ["last answer", answerOf(last)],
      ["next attempt", state === "pending" && dueAt ? shown(dueAt) : "none"],
    ]);
    if (state === "dead") {
      findings.push(
        finding(
          "webhook_dead",
          `The system of ${order.partner.title} did not accept ${type} in any attempt; no further one is made.`,
          `Call the partner. When its system works again: "replay ${id}" in the console.`,
          evidence,
        ),
      );
      continue;
    }
    findings.push(
      finding(
        "webhook_failing",
        `The system of ${order.partner.title} does not accept ${type}; the platform tries again.`,
        `Call the partner: its system fails. "webhooks ${order.partner.id}" in the console shows each answer.`,
        evidence,
      ),
    );
  }
  const { endpoint } = webhooks;
  if (findings.length > 0 || order.status !== "paid") return findings;
  if (endpoint === "disabled" || endpoint === "gone") {
    const why = endpoint === "gone" ? "answered 410 Gone" : "was switched off by an admin";
    findings.push(
      finding(
        "webhook_disabled",
        `The webhook of ${order.partner.title} ${why}, so its system is not told of orders.`,
        `Let the partner repair its system, then set the webhook again: PUT /partners/${order.partner.id}/webhook.`,
        facts([["checked", shown(new Date(nowMs).toISOString())]]),
      ),
    );
  }
  return findings;
}

function refundFindings({ refunds, order }: Evidence): DiagnosisFinding[] {
  return refunds.flatMap(({ id, state, amountMinor, error }) => {
    const evidence = facts([
      ["refund", id],
      ["amount in minor units", `${amountMinor} ${order.currency}`],
      ["error", error, short],
    ]);
    if (state === "failed") {
      return [
        finding(
          "refund_failed",
          "The bank refused a refund of this order, so the customer has not got the money back.",
          `Look at the bank's own page, then try once more: "retry-refund ${id}" in the console.`,
          evidence,
        ),
      ];
    }
    if (state === "completed" || !error) return [];
    return [
      finding(
        "refund_failing",
        `A refund of this order is ${state}, and the last request to the bank failed; the platform tries again.`,
        "See whether the bank can be reached.",
        evidence,
      ),
    ];
  });
}

function deadlineFindings({ deadline }: Evidence): DiagnosisFinding[] {
  if (!deadline?.failures) return [];
  return [
    finding(
      "deadline_failing",
      `The deadline of ${shown(deadline.at)} could not be applied (${deadline.effect}).`,
      "Remove the cause that the error names; the deadline is tried again by itself.",
      facts([
        ["failures", String(deadline.failures)],
        ["next attempt", deadline.retryAt, shown],
        ["error", deadline.error, short],
      ]),
    ),
  ];
}

/** The finding about the next event that the order's state needs. */
function stateFinding(evidence: Evidence): DiagnosisFinding {
  const { order, deadline, nowMs } = evidence;
  const { partner } = order;
  const until = deadline ? ` until ${shown(deadline.at)}, then it ${deadline.effect}` : "";
  switch (order.status) {
    case "pending":
      return paymentFinding(evidence, until);
    case "paid":
      if (awaitsNotice(order)) {
        const problem = order.noticeProblem ?? evidence.noticeProblem ?? "the reason is not known";
        return finding(
          "partner_not_notified",
          `${partner.title} was not notified of the paid order yet: ${short(problem)}.`,
          "Remove the cause. The partner's time to accept begins when it is notified.",
        );
      }
      return finding(
        "partner_silent",
        `${partner.title} was notified and has not accepted the order; it waits${until}.`,
        `Call the partner${partner.phone ? ` at ${partner.phone}` : ""}.`,
        facts([["notified", order.partnerNotifiedAt, shown]]),
      );
    case "preparing":
      return finding(
        "preparing",
        `${partner.title} prepares the order${order.readyAt ? ` and promised it for ${shown(order.readyAt)}` : ""}.`,
        order.readyAt && Date.parse(order.readyAt) < nowMs
          ? `It is late: call the partner${partner.phone ? ` at ${partner.phone}` : ""}.`
          : "Nothing: wait for the partner.",
      );
    case "ready":
      return readyFinding(evidence);
    case "delivering":
      return deliveringFinding(evidence);
    case "failed":
      return finding(
        "undeliverable",
        `The deliverer could not hand the order over${order.reason ? `: ${short(order.reason)}` : ""}.`,
        "Talk to the customer, then assign the order again, or cancel it.",
      );
    default:
      return finding(
        "ended",
        `The order is ${order.status}${order.closedAt ? ` since ${shown(order.closedAt)}` : ""}.`,
        "Nothing.",
        facts([["reason", order.reason, short]]),
      );
  }
}

function paymentFinding({ order, bank }: Evidence, until: string): DiagnosisFinding {
  const polls = facts([
    ["polls", String(bank.looks)],
    ["last answer", bank.answeredAt ? shown(bank.answeredAt) : "none"],
    ["next poll", bank.nextAt, shown],
    ["error", bank.error, short],
  ]);
  if (bank.silentSince) {
    return finding(
      "bank_silent",
      `The bank has not answered since ${shown(bank.silentSince)}, so a payment would not be seen.`,
      "Look at the bank's status page. The platform asks it again by itself.",
      polls,
    );
  }
  if (!order.checkoutUrl) {
    return finding(
      "checkout_missing",
      "The bank made no checkout for the order, so the customer cannot pay.",
      "Let the customer confirm again; with the same Idempotency-Key it is the same order.",
      polls,
    );
  }
  if (bank.error) {
    return finding(
      "payment_unreadable",
      `The bank was asked for the payment, and its answer could not be used: ${short(bank.error)}.`,
      "Look for the payment on the bank's own page.",
      polls,
    );
  }
  if (order.paidMinor > 0) {
    return finding(
      "partially_paid",
      `Only ${order.paidMinor} of ${order.totalMinor} minor units ${order.currency} are paid; it waits${until}.`,
      "Nothing: the customer can pay the rest on the same checkout page.",
      polls,
    );
  }
  // The bank's callback and its own answer to a poll are the two ways on which a payment is seen.
  return bank.answeredAt
    ? finding(
        "not_paid",
        `The bank says that nothing is paid (asked ${shown(bank.answeredAt)}); it waits${until}.`,
        "Nothing: the customer has not paid. The checkout page is in the order.",
        polls,
      )
    : finding(
        "no_callback",
        `No callback of the bank has come, and the bank was not asked yet; it waits${until}.`,
        bank.nextAt
          ? `Nothing: the platform asks the bank at ${shown(bank.nextAt)}.`
          : "Look for the payment on the bank's own page.",
        polls,
      );
}

function readyFinding({ order, couriersOnDuty }: Evidence): DiagnosisFinding {
  const since = order.readySince ? ` since ${shown(order.readySince)}` : "";
  const evidence = facts([["couriers on duty", String(couriersOnDuty)]]);
  if (order.offeredTo && order.offerUntil) {
    return finding(
      "offered",
      `The order is ready${since} and is offered to courier ${order.offeredTo} until ${shown(order.offerUntil)}.`,
      "Nothing: the next courier is asked afterwards.",
      evidence,
    );
  }
  if (couriersOnDuty === 0) {
    return finding(
      "no_courier_on_duty",
      `The order is ready${since}, and no courier is on duty.`,
      `Call a courier, or assign the order: "assign ${order.id} <courier>" in the console.`,
      evidence,
    );
  }
  return finding(
    "not_assigned",
    `The order is ready${since}, and none of the ${couriersOnDuty} couriers on duty has taken it.`,
    `Assign it to one of them: "couriers" in the console shows where they are, "assign ${order.id} <courier>" assigns it.`,
    evidence,
  );
}

function deliveringFinding({ order, positionAt, nowMs }: Evidence): DiagnosisFinding {
  const courier = order.delivererId ?? "";
  const evidence = facts([
    ["courier", courier],
    ["picked up", order.pickedUpAt ? shown(order.pickedUpAt) : "not yet"],
    ["last position", positionAt ? shown(positionAt) : "none"],
  ]);
  const heardMs = Date.parse(positionAt ?? order.updatedAt);
  return heardMs < nowMs - COURIER_SILENT_MS
    ? finding(
        "courier_silent",
        `Courier ${courier} has the order and has reported no position since ${shown(positionAt ?? order.updatedAt)}.`,
        `Call the courier; without an answer, assign the order to another one: "assign ${order.id} <courier>" in the console.`,
        evidence,
      )
    : finding("delivering", `Courier ${courier} is on the way with the order.`, "Nothing.", evidence);
}

function answerOf({ statusCode, error }: WebhookDelivery): string {
  return statusCode ? `status ${statusCode}` : (error ?? "none");
}

type Fact = readonly [name: string, value: string | undefined, format?: (value: string) => string];

/** One line for each known fact. */
function facts(all: readonly Fact[]): string[] {
  return all.flatMap(([name, value, format = String]) => (value ? [`${name}: ${format(value)}`] : []));
}

function nameOf(service: string): string {
  return service.charAt(0).toUpperCase() + service.slice(1);
}

function shown(time: string): string {
  return `${time.slice(0, 19).replace("T", " ")} UTC`;
}

function short(text: string): string {
  return shortenLine(text, ERROR_SHOWN_MAX);
}
