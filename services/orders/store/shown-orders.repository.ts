import { type Db, rows } from "../../../lib/sql/database.ts";
import type { Order } from "../domain/order-model.ts";
import { type CustomerColumns, customerFrom, LINES, type Reader } from "./orders.repository.ts";

/** The fields of an order that views show. Its payments and the fields of its deadlines cost about half of the read. */
export type ShownOrder = Pick<
  Order,
  | "id"
  | "number"
  | "version"
  | "status"
  | "paymentStatus"
  | "customer"
  | "partner"
  | "delivererId"
  | "lines"
  | "currency"
  | "feeMinor"
  | "totalMinor"
  | "paidMinor"
  | "refundedMinor"
  | "address"
  | "note"
  | "bankId"
  | "checkoutUrl"
  | "deadlineAt"
  | "readyAt"
  | "pickedUpAt"
  | "closedAt"
  | "reason"
  | "rejection"
  | "proofPhotoId"
  | "createdAt"
  | "updatedAt"
>;

export type ShownRow = Omit<ShownOrder, "customer"> & CustomerColumns;

export const SHOWN_ORDER = `
  SELECT o.id, o.number, o.version, o.status, o.payment_status, o.customer_id, o.customer_name, o.customer_phone, o.partner,
    o.deliverer_id, o.currency, o.fee_minor, o.total_minor, o.paid_minor, o.refunded_minor, o.address, o.note, o.bank_id,
    o.checkout_url, o.deadline_at, o.ready_at, o.picked_up_at, o.closed_at, o.reason, o.rejection, o.proof_photo_id, o.created_at, o.updated_at,
    ${LINES} AS lines
  FROM orders o`;

export function shownFromRow({ customerId, customerName, customerPhone, ...order }: ShownRow): ShownOrder {
  return { ...order, customer: customerFrom({ customerId, customerName, customerPhone }) };
}

export interface WantedOrder {
  orderId: string;
  reader: Reader;
}

/**
 * The wanted orders that their readers may see, by the text of the wanted one. LIMIT makes PostgreSQL find each by its
 * primary key, independent of its statistics.
 */
export async function findShownOrders(
  db: Db,
  wanted: readonly WantedOrder[],
): Promise<ReadonlyMap<string, ShownOrder>> {
  const found = await rows<ShownRow & { place: number }>(
    db,
    `SELECT wanted.place, found.*
     FROM unnest(:orderIds::uuid[], :all::boolean[], :personIds::uuid[], :delivererIds::uuid[], :partnerIds::uuid[])
       WITH ORDINALITY AS wanted(order_id, sees_all, person_id, deliverer_id, partner_id, place)
     CROSS JOIN LATERAL (${SHOWN_ORDER}
       WHERE o.id = wanted.order_id AND (wanted.sees_all OR o.customer_id = wanted.person_id
         OR o.deliverer_id = wanted.deliverer_id OR o.partner_id = wanted.partner_id) IS TRUE
       LIMIT 1) AS found`,
    {
      orderIds: wanted.map(({ orderId }) => orderId),
      all: wanted.map(({ reader }) => reader.role === "anybody"),
      personIds: wanted.map(({ reader }) => (reader.role === "person" ? reader.id : null)),
      delivererIds: wanted.map(({ reader }) =>
        reader.role === "person" && reader.carries ? reader.id : null,
      ),
      partnerIds: wanted.map(({ reader }) => (reader.role === "person" && reader.partnerId) || null),
    },
  );
  return new Map(
    found.map(({ place, ...row }) => [textOf(wanted[place - 1] as WantedOrder), shownFromRow(row)]),
  );
}

/** Equal for reads of the same order by the same reader. */
export function textOf({ orderId, reader }: WantedOrder): string {
  if (reader.role === "anybody") return orderId;
  return `${orderId} ${reader.id} ${reader.carries ?? false} ${reader.partnerId ?? ""}`;
}
