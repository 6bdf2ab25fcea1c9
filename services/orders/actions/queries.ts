import type { Params, Result } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import { type Caller, type Ctx, isOperator, operatorRoles } from "../../../contracts/meta.ts";
import type { OrderStatus, OrderView } from "../../../contracts/orders.ts";
import { isoTime, momentOf } from "../../../lib/clock.ts";
import { cursorOf } from "../../../lib/cursor.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Db } from "../../../lib/sql/database.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { deadlineFor } from "../domain/order.ts";
import { awaitsNotice, type Order } from "../domain/order-model.ts";
import type { Projections } from "../projections/order-documents.ts";
import { historyOf } from "../projections/projections.ts";
import { type DeadlineProblem, deadlineProblems } from "../store/deadlines.repository.ts";
import { isErasedCustomer, openOrdersOf } from "../store/former-deliverers.repository.ts";
import {
  findState,
  listOrders,
  type Owner,
  stuckGroups,
  stuckOrders,
} from "../store/order-lists.repository.ts";
import {
  findOrders,
  isNumber,
  MATCHES_MAX,
  matchingOrders,
  type OrderFilter,
} from "../store/order-search.repository.ts";
import { databaseNowMs, findOrder, findPosition } from "../store/orders.repository.ts";
import type { ShownOrder } from "../store/shown-orders.repository.ts";
import type { ReadDependencies } from "../use-cases/shown-orders.ts";
import { ownerOf, readerOf } from "./access.ts";
import { beforeOf, pageOf } from "./pages.ts";
import { firstName, viewFor, viewOf, withPickupCode } from "./views.ts";

const LIST_LIMIT_DEFAULT = 20;
const STUCK_GROUPS_MAX = 50;
/** The most open orders of a customer in one answer. */
const OPEN_ORDERS_MAX = 20;
/** How long the tracking page is available after the order's end. */
const TRACKABLE_AFTER_END_MS = 86_400_000;
/** A deadline overdue by more than this means that no worker processes deadlines. */
const DEADLINE_LATE_MS = 60_000;

/** @throws NOT_FOUND for an order that the caller may not read */
export async function getOrder(deps: ReadDependencies, ctx: Ctx<Params<"orders.get">>): Promise<OrderView> {
  const caller = callerOf(ctx);
  const order = await shownOrder(deps, ctx);
  const own = viewFor(caller, viewOf(order), deps);
  const view = withPickupCode(caller, own, order, deps.deliveryTokens);
  // A deleted customer cannot give the PIN to the deliverer, so an operator does.
  const isCustomerDeleted =
    caller.role === "admin" && (await isErasedCustomer(deps.postgres.db, order.customer.id));
  return isCustomerDeleted && !order.closedAt ? { ...view, pin: deps.deliveryTokens.pinOf(order.id) } : view;
}

/** The ids of a customer's orders that have not ended. */
export async function openOf(
  { postgres }: Pick<OrdersDependencies, "postgres">,
  customerId: string,
): Promise<Result<"orders.openOf">> {
  return { orderIds: await openOrdersOf(postgres.db, customerId, OPEN_ORDERS_MAX) };
}

/** The present state of an order, for a service that handles an old message about it. */
export async function stateOf(
  { postgres: { db } }: Pick<OrdersDependencies, "postgres">,
  orderId: string,
): Promise<Result<"orders.state">> {
  const state = await findState(db, orderId);
  return state ? { state } : {};
}

export async function listOwnOrders(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.list">>,
): Promise<Result<"orders.list">> {
  const { postgres, deliveryTokens } = deps;
  const caller = callerOf(ctx);
  const { cursor, userId, limit } = ctx.params;
  if (userId !== undefined && caller.role !== "admin") throw fail("FORBIDDEN");
  const owner: Owner = userId === undefined ? ownerOf(caller) : { role: "deliverer", id: userId };
  const before = beforeOf(cursor);
  const filter = await filterOf(deps, caller, ctx.params);
  const isFiltered = Object.values(filter).some((value) => value !== undefined);
  return pageOf(
    (rowLimit) =>
      isFiltered
        ? findOrders(postgres.db, owner, { ...filter, before, limit: rowLimit })
        : listOrders(postgres.db, owner, { before, limit: rowLimit }),
    limit,
    (order) => {
      const view = viewFor(caller, viewOf(order), deps);
      return withPickupCode(caller, view, order, deliveryTokens);
    },
  );
}

/** @throws VALIDATION_ERROR, TOO_MANY_MATCHES, FORBIDDEN for a search by a customer or deliverer */
async function filterOf(
  { postgres: { db }, clock, partnerVisibleMs }: OrdersDependencies,
  caller: Caller,
  params: Params<"orders.list">,
): Promise<OrderFilter> {
  const { status, statuses, paymentStatus, partnerId, customerId, delivererId, q } = params;
  const listed = statuses?.split(",") as OrderStatus[] | undefined;
  return {
    ...{ paymentStatus, partnerId, customerId, delivererId },
    statuses: status && listed ? listed.filter((one) => one === status) : status ? [status] : listed,
    from: timeOf("from", params.from),
    to: timeOf("to", params.to),
    ids: q === undefined ? undefined : await matchesOf(db, caller, q),
    // Staff find no order by a customer whom they may not see in it.
    ...(q !== undefined &&
      caller.role === "partner" &&
      !isNumber(q) && { openSince: isoTime(clock.now() - partnerVisibleMs) }),
  };
}

function timeOf(field: string, text: string | undefined): string | undefined {
  if (text !== undefined && momentOf(text) === undefined)
    throw invalidField(field, "time", "This is no moment in time.");
  return text;
}

/** The orders that a search finds. Only those who see the customer in every order may search by the customer's name. */
async function matchesOf(db: Db, { role, partnerId }: Caller, q: string): Promise<string[]> {
  if (!isOperator(role) && !(role === "partner" && partnerId)) throw fail("FORBIDDEN");
  const ids = await matchingOrders(db, q, partnerId);
  if (ids.length > MATCHES_MAX)
    throw fail(
      "TOO_MANY_MATCHES",
      `More than ${MATCHES_MAX} orders match: write more of the name or number.`,
    );
  return ids;
}

/** Reads the history from the document store, which is updated shortly after each message. */
export async function getHistory(
  deps: ReadDependencies,
  projections: Projections,
  ctx: Ctx<Params<"orders.history">>,
): Promise<Result<"orders.history">> {
  const { number } = await shownOrder(deps, ctx);
  const items = await historyOf(projections, ctx.params.orderId);
  return { ...(number !== undefined && { number }), items };
}

/** For the frequent reads. @throws NOT_FOUND for an order that the caller may not read */
async function shownOrder(
  { readShown }: Pick<ReadDependencies, "readShown">,
  ctx: Ctx<{ orderId: string }>,
): Promise<ShownOrder> {
  const order = await readShown({ orderId: ctx.params.orderId, reader: readerOf(callerOf(ctx)) });
  if (!order) throw fail("NOT_FOUND", "There is no such order.");
  return order;
}

export async function readableOrder(
  { postgres }: Pick<OrdersDependencies, "postgres">,
  ctx: Ctx<{ orderId: string }>,
): Promise<Order> {
  const found = await findOrder(postgres.db, ctx.params.orderId, readerOf(callerOf(ctx)));
  if (!found) throw fail("NOT_FOUND", "There is no such order.");
  return found.order;
}

/** The public tracking page. It shows the customer's first name only, and ends a day after the order. */
export async function track(
  { postgres, deliveryTokens }: OrdersDependencies,
  ctx: Ctx<Params<"orders.track">>,
): Promise<Result<"orders.track">> {
  const nowMs = await databaseNowMs(postgres.db);
  const orderId = deliveryTokens.orderOfToken(ctx.params.token, nowMs);
  const found = orderId && (await findOrder(postgres.db, orderId, { role: "anybody" }));
  if (!found) throw fail("NOT_FOUND");
  const { order } = found;
  if (order.closedAt && Date.parse(order.closedAt) + TRACKABLE_AFTER_END_MS < nowMs) throw fail("NOT_FOUND");
  const position = order.status === "delivering" ? await findPosition(postgres.db, order.id) : undefined;
  return omitUndefined({
    status: order.status,
    partnerTitle: order.partner.title,
    firstName: firstName(order.customer.name),
    position: position && { latitude: position.latitude, longitude: position.longitude },
    positionAt: position?.reportedAt,
    updatedAt: order.updatedAt,
  });
}

export async function listStuck(
  { postgres }: OrdersDependencies,
  ctx: Ctx<Params<"orders.stuck">>,
): Promise<Result<"orders.stuck">> {
  callerOf(ctx, ...operatorRoles);
  const { db } = postgres;
  const { cursor, limit = LIST_LIMIT_DEFAULT, by = "cause", ...filter } = ctx.params;
  const page = { ...filter, afterId: beforeOf(cursor) };
  // One more than the page, to see whether there is a next one.
  const [found, groups] = await Promise.all([
    stuckOrders(db, DEADLINE_LATE_MS, page, limit + 1),
    stuckGroups(db, DEADLINE_LATE_MS, filter, by, STUCK_GROUPS_MAX),
  ]);
  const shown = found.slice(0, limit);
  const last = shown.at(-1);
  const problems = await deadlineProblems(
    db,
    shown.map(({ order }) => order.id),
  );
  const byId = new Map(problems.map((problem) => [problem.id, problem]));
  return omitUndefined({
    items: shown.map(({ order, cause, since }) => ({
      ...viewOf(order),
      stuckBecause: causeOf(order, byId.get(order.id)),
      stuckCause: cause,
      stuckSince: since,
    })),
    nextCursor: found.length > limit && last ? cursorOf(last.order.id) : undefined,
    groups,
  });
}

/** The reasons why an order waits for an operator, in one text. */
function causeOf(order: Order, problem: DeadlineProblem | undefined): string {
  const causes: string[] = [];
  if (problem)
    causes.push(`its deadline could not be acted on (${problem.failures} times): ${problem.error}`);
  if (order.paymentStatus === "refund_failed") causes.push("a refund failed");
  if (order.noticeProblem && awaitsNotice(order)) {
    causes.push(`its partner was not notified: ${order.noticeProblem}`);
  } else if (order.alertedAt) causes.push(deadlineFor(order)?.effect ?? "an alert was raised");
  return causes.join("; ") || "its deadline has passed, and no worker has acted on it";
}
