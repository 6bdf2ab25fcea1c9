import {
  type OrderStatus,
  orderStatus,
  type PaymentStatus,
  paymentStatus,
} from "../../../contracts/order-status.ts";
import { firstIdAt } from "../../../lib/ids.ts";
import { prefixQuery } from "../../../lib/search-words.ts";
import { type Db, type Rows, rowsPlannedAnew } from "../../../lib/sql/database.ts";
import type { Owner } from "./order-lists.repository.ts";
import { SHOWN_ORDER, type ShownOrder, type ShownRow, shownFromRow } from "./shown-orders.repository.ts";

/** A search with more matches than this is refused: the matches are sorted. */
export const MATCHES_MAX = 10_000;
/** An id is that of the check, up to ten minutes older than the order, by the clock of another machine. */
const ID_AGE_MAX_MS = 3_600_000;
const FIRST_ID = "00000000-0000-0000-0000-000000000000";
const LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";
const FINAL: readonly OrderStatus[] = ["delivered", "cancelled", "expired"];

export interface OrderFilter {
  statuses?: readonly OrderStatus[] | undefined;
  paymentStatus?: PaymentStatus | undefined;
  partnerId?: string | undefined;
  customerId?: string | undefined;
  delivererId?: string | undefined;
  /** Confirmed at this time (RFC 3339) or later. */
  from?: string | undefined;
  /** Confirmed before this time. */
  to?: string | undefined;
  /** Only these orders, as a search found them. */
  ids?: readonly string[] | undefined;
  /** Only orders that have not ended before this time. */
  openSince?: string | undefined;
}

/** Conditions of all filters. One whose value is null is no condition. */
const FILTERS = [
  "(:partnerId::uuid IS NULL OR o.partner_id = :partnerId::uuid)",
  "(:customerId::uuid IS NULL OR o.customer_id = :customerId::uuid)",
  "(:delivererId::uuid IS NULL OR o.deliverer_id = :delivererId::uuid)",
  "(:from::timestamptz IS NULL OR o.created_at >= :from::timestamptz)",
  "(:to::timestamptz IS NULL OR o.created_at < :to::timestamptz)",
  "(:openSince::timestamptz IS NULL OR (o.closed_at < :openSince::timestamptz) IS NOT TRUE)",
];
const OF_PAYMENT = "(:payment::text IS NULL OR o.payment_status = :payment::text)";
const STATES = ["(:statuses::text[] IS NULL OR o.status = ANY(:statuses::text[]))", OF_PAYMENT];
const BY_ID = { order: "o.id DESC", after: "o.id < :before::uuid" };
const BY_TIME = {
  order: "o.created_at DESC, o.id DESC",
  after: "(o.created_at, o.id) < (SELECT b.created_at, b.id FROM orders b WHERE b.id = :before::uuid)",
};

/** Orders of one owner, or of all. */
interface Scope {
  condition: string;
  /** Whether indexes by state exist for this scope. The other scopes are the orders of one person. */
  byState: boolean;
}
const ALL: Scope = { condition: "o.id >= :firstId::uuid AND o.id < :lastId::uuid", byState: true };
const OF_PARTNER: Scope = { condition: "o.partner_id = :ownerPartnerId::uuid", byState: true };
const OF_CUSTOMER: Scope = { condition: "o.customer_id = :ownerId::uuid", byState: false };
const OF_DELIVERER: Scope = { condition: "o.deliverer_id = :ownerId::uuid", byState: false };

/**
 * The owner's orders that meet the filter, the newest confirmation first; without a condition on states or owners they are
 * sorted by id, as `listOrders` sorts the list of all. Each state is read by its own index, so a page
 * costs the same for any number of orders in the other states. The statement is planned for its values, because absent
 * filters are removed.
 */
export async function findOrders(
  db: Db,
  owner: Owner,
  filter: OrderFilter & { before?: string | undefined; limit: number },
): Promise<Rows<ShownOrder>> {
  const {
    statuses,
    paymentStatus: payment,
    partnerId,
    customerId,
    delivererId,
    from,
    to,
    ids,
    openSince,
    before,
  } = filter;
  const { scopes, ownerId, ownerPartnerId } = scopesOf(owner, filter);
  const hasState = statuses !== undefined || payment !== undefined;
  const place = scopes.includes(ALL) && !hasState && !ids ? BY_ID : BY_TIME;
  const conditions = [...FILTERS, ...(before ? [place.after] : [])];
  const parts = scopes.flatMap((scope) =>
    ids
      ? [ordered([scope.condition, "o.id = ANY(:ids::uuid[])", ...STATES, ...conditions], place.order)]
      : hasState && scope.byState
        ? byState(scope, conditions)
        : [ordered([scope.condition, ...STATES, ...conditions], place.order)],
  );
  const wanted = statuses ?? orderStatus.values;
  const ended = FINAL.filter((status) => wanted.includes(status)).flatMap((status) =>
    (payment ? [payment] : paymentStatus.values).map((one) => ({ status, payment: one })),
  );
  const found = await rowsPlannedAnew<ShownRow>(
    db,
    `${SHOWN_ORDER} WHERE o.id = ANY (ARRAY(
       SELECT o.id FROM (${parts.join(" UNION ")}) o ORDER BY ${place.order} LIMIT :limit))
     ORDER BY ${place.order} LIMIT :limit`,
    {
      ...{ ownerId: ownerId ?? null, ownerPartnerId: ownerPartnerId ?? null, limit: filter.limit },
      ...{ before: before ?? LAST_ID, ids: ids ?? null, openSince: openSince ?? null },
      ...{ partnerId: partnerId ?? null, customerId: customerId ?? null, delivererId: delivererId ?? null },
      ...{ from: from ?? null, to: to ?? null, statuses: statuses ?? null, payment: payment ?? null },
      firstId: from ? firstIdAt(Date.parse(from) - ID_AGE_MAX_MS) : FIRST_ID,
      lastId: to ? firstIdAt(Date.parse(to) + ID_AGE_MAX_MS) : LAST_ID,
      open: wanted.filter((status) => !FINAL.includes(status)),
      endedStatuses: ended.map(({ status }) => status),
      endedPayments: ended.map((one) => one.payment),
    },
  );
  const orders: Rows<ShownOrder> = found.map(shownFromRow);
  if (found.skipped) orders.skipped = found.skipped;
  return orders;
}

/** For admins the narrowest filter is the scope. Of partner staff a search reads the partner's orders only. */
function scopesOf(
  owner: Owner,
  { partnerId, customerId, delivererId, ids }: OrderFilter,
): { scopes: Scope[]; ownerId?: string; ownerPartnerId?: string } {
  switch (owner.role) {
    case "customer":
      return { scopes: [OF_CUSTOMER], ownerId: owner.id };
    case "deliverer":
      return { scopes: [OF_DELIVERER, OF_CUSTOMER], ownerId: owner.id };
    case "partner": {
      const scopes = ids ? [OF_PARTNER] : [OF_PARTNER, OF_CUSTOMER];
      return { scopes, ownerId: owner.id, ownerPartnerId: owner.partnerId };
    }
    case "admin":
      if (customerId) return { scopes: [OF_CUSTOMER], ownerId: customerId };
      if (delivererId) return { scopes: [OF_DELIVERER], ownerId: delivererId };
      if (partnerId) return { scopes: [OF_PARTNER], ownerPartnerId: partnerId };
      return { scopes: [ALL] };
  }
}

function ordered(conditions: readonly string[], order: string): string {
  return `(SELECT o.id, o.created_at FROM orders o WHERE ${conditions.join(" AND ")} ORDER BY ${order} LIMIT :limit)`;
}

/**
 * A page of each wanted state. Open orders of a partner are sorted after they are read: sorted by the partner's index they
 * would be found among all ended ones.
 */
function byState(scope: Scope, conditions: readonly string[]): string[] {
  const { order } = BY_TIME;
  // The range of ids would be read once for each state.
  const condition = scope === ALL ? "TRUE" : scope.condition;
  const open = [condition, "o.status = s.status", "o.closed_at IS NULL", OF_PAYMENT, ...conditions];
  const ended = [
    ...[condition, "o.status = s.status", "o.payment_status = s.payment", "o.closed_at IS NOT NULL"],
    ...conditions,
  ];
  return [
    `(SELECT o.id, o.created_at FROM unnest(:open::text[]) AS s(status) CROSS JOIN LATERAL (
       SELECT * FROM (
         SELECT o.id, o.created_at FROM orders o WHERE ${open.join(" AND ")} ${scope === OF_PARTNER ? "OFFSET 0" : ""}
       ) o ORDER BY ${order} LIMIT :limit) o)`,
    `(SELECT o.id, o.created_at FROM unnest(:endedStatuses::text[], :endedPayments::text[]) AS s(status, payment)
       CROSS JOIN LATERAL ${ordered(ended, order)} o)`,
  ];
}

/** The number of an order, as K7-042. */
const NUMBER = /^[a-z]\d-\d{3,6}$/i;

/** Whether a search is for the number of an order, not for its customer. */
export function isNumber(text: string): boolean {
  return NUMBER.test(text.trim());
}

/**
 * The ids of orders with this number or, for another text, of orders whose customer's name and phone number have words that
 * begin with the words of `text`.
 * @param partnerId only orders of this partner
 * @returns `MATCHES_MAX + 1` ids if there are more
 */
export async function matchingOrders(db: Db, text: string, partnerId?: string): Promise<string[]> {
  if (isNumber(text)) return await withNumber(db, text.trim().toUpperCase(), partnerId);
  const query = prefixQuery(text);
  if (!query) return [];
  const found = await rowsPlannedAnew<{ id: string }>(
    db,
    `SELECT order_id AS id FROM order_search WHERE words @@ ?::tsquery LIMIT ${MATCHES_MAX + 1}`,
    [partnerId ? `':${partnerId}' & ${query}` : query],
  );
  return found.map(({ id }) => id);
}

async function withNumber(db: Db, number: string, partnerId?: string): Promise<string[]> {
  const found = await rowsPlannedAnew<{ id: string }>(
    db,
    `SELECT id FROM orders WHERE number = :number AND (:partnerId::uuid IS NULL OR partner_id = :partnerId)
     LIMIT ${MATCHES_MAX + 1}`,
    { number, partnerId: partnerId ?? null },
  );
  return found.map(({ id }) => id);
}
