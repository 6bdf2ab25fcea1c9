import { call, type Params, type Result } from "../../../contracts/actions.ts";
import { typeOf } from "../../../contracts/errors.ts";
import { type Ctx, operatorRoles } from "../../../contracts/meta.ts";
import { type QueueOwner, queueOwners } from "../../../contracts/operations.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Db } from "../../../lib/sql/database.ts";
import { shortenLine } from "../../../lib/text.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { deadlineFor } from "../domain/order.ts";
import { explainOrder } from "../domain/order-diagnosis.ts";
import { awaitsNotice, type Order } from "../domain/order-model.ts";
import { countOnDuty } from "../store/couriers.repository.ts";
import { type DeadlineProblem, deadlineProblems, noticeProblemOf } from "../store/deadlines.repository.ts";
import { disputesOf } from "../store/disputes.repository.ts";
import { listTransitions } from "../store/order-lists.repository.ts";
import { databaseNowMs, findPosition } from "../store/orders.repository.ts";
import { receiptsOf, refundsOf } from "../store/payments.repository.ts";
import { bankContact, reconciliationOf } from "../store/reconciliation.repository.ts";
import { disputeView } from "./disputes.ts";
import { readableOrder } from "./queries.ts";
import { viewOf } from "./views.ts";

/** A service that does not answer in this time is named in the answer, which is then made without it. */
const ASK_TIMEOUT_MS = 1_000;
const REASON_MAX = 200;

type Diagnosis = Result<"orders.diagnosis">;

/**
 * Why an order does not go on, with the evidence of every service. PostgreSQL of Orders is enough for an answer: services
 * that do not answer are named in it.
 */
export async function diagnose(
  { postgres, brokerReady }: Pick<OrdersDependencies, "postgres" | "brokerReady">,
  ctx: Ctx<Params<"orders.diagnosis">>,
): Promise<Diagnosis> {
  callerOf(ctx, ...operatorRoles);
  const { db } = postgres;
  const { orderId } = ctx.params;
  const order = await readableOrder({ postgres }, ctx);
  const notAsked: { service: string; reason: string }[] = [];
  const ask = <T>(service: QueueOwner, question: Promise<T>): Promise<T | undefined> =>
    question.catch((error: unknown) => {
      if (!notAsked.some((other) => other.service === service)) {
        notAsked.push({ service, reason: shortenLine(typeOf(error) ?? String(error), REASON_MAX) });
      }
      return undefined;
    });
  const options = { timeout: ASK_TIMEOUT_MS, retries: 0 };
  const partnerId = order.partner.id;
  const [messages, webhooks, reconciliation, noticeProblem, [problem], isBrokerReady, own] =
    await Promise.all([
      Promise.all(
        queueOwners.map((service) =>
          ask(service, call(ctx, `${service}.undelivered`, { subject: orderId }, options)),
        ),
      ),
      ask("partners", call(ctx, "partners.orderWebhooks", { partnerId, orderId }, options)),
      reconciliationOf(db, orderId),
      awaitsNotice(order) ? noticeProblemOf(db, orderId) : undefined,
      deadlineProblems(db, [orderId]),
      brokerReady(),
      recordsOf(db, order),
    ]);
  const deadline = deadlineOf(order, own.nowMs, problem);
  const undelivered = messages.flatMap((answer) => answer?.items ?? []);
  const findings = explainOrder({
    ...{ order, nowMs: own.nowMs, deadline, noticeProblem, refunds: own.refunds, messages: undelivered },
    bank: {
      looks: 0,
      ...reconciliation,
      ...(own.contact?.silentSince && { silentSince: own.contact.silentSince }),
    },
    webhooks,
    couriersOnDuty: own.couriersOnDuty,
    positionAt: own.positionAt,
    brokerReady: isBrokerReady,
  });
  return omitUndefined({
    order: viewOf(order),
    findings,
    notAsked,
    ...shown(own),
    deadline,
    partnerNotice: noticeOf(order, noticeProblem),
    undelivered,
    webhooks: webhooks?.deliveries ?? [],
    reconciliation,
  });
}

/** The records of the order in this database. */
async function recordsOf(db: Db, { id, bankId, status }: Order) {
  const [history, receipts, refunds, disputes, nowMs, contact, couriersOnDuty, position] = await Promise.all([
    listTransitions(db, id),
    receiptsOf(db, id),
    refundsOf(db, id),
    disputesOf(db, id),
    databaseNowMs(db),
    bankContact(db, bankId),
    status === "ready" ? countOnDuty(db) : 0,
    status === "delivering" ? findPosition(db, id) : undefined,
  ]);
  return {
    history,
    receipts,
    refunds,
    disputes,
    nowMs,
    contact,
    couriersOnDuty,
    positionAt: position?.heardAt,
  };
}

function shown({ history, receipts, refunds, disputes }: Awaited<ReturnType<typeof recordsOf>>) {
  return {
    history: history.map(({ id, type, at, from, to, actor, reason, traceId, version }) =>
      omitUndefined({ id, type, at, from, to, actor, reason, traceId, version }),
    ),
    receipts: receipts.map(({ paymentId, outcome, amountMinor, currency, at }) => ({
      paymentId,
      outcome,
      amount: { amountMinor, currency },
      at,
    })),
    refunds: refunds.map(({ id, amountMinor, currency, state, reason, borneBy }) =>
      omitUndefined({ id, amount: { amountMinor, currency }, state, reason, borneBy }),
    ),
    disputes: disputes.map(disputeView),
  };
}

function deadlineOf(order: Order, nowMs: number, problem?: DeadlineProblem) {
  const deadline = deadlineFor(order);
  if (!deadline || !order.deadlineAt) return undefined;
  const overdue = Date.parse(order.deadlineAt) <= nowMs;
  const { failures, error, retryAt } = problem ?? {};
  return omitUndefined({ at: order.deadlineAt, overdue, effect: deadline.effect, failures, error, retryAt });
}

/** The notice to the partner of an order; undefined if the order needs none. */
function noticeOf(order: Order, problem: string | undefined): Diagnosis["partnerNotice"] {
  if (order.partnerNotifiedAt) return { at: order.partnerNotifiedAt };
  return problem === undefined ? undefined : { problem: order.noticeProblem ?? problem };
}
