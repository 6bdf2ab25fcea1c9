import type { OrderStatus } from "../../../contracts/orders.ts";
import type { Address } from "../../../contracts/shared.ts";
import { type Db, rows } from "../../../lib/sql/database.ts";
import { RECEIPT, REFUND, type ReceiptRow, type RefundRow } from "./payments.repository.ts";

/** The most addresses that an export lists. Each order has its address too. */
const ADDRESSES_MAX = 500;

export interface UsedAddress {
  address: Address;
  firstUsedAt: string;
  lastUsedAt: string;
}

/** The addresses of a customer's orders. */
export async function addressesOf(db: Db, customerId: string): Promise<UsedAddress[]> {
  return rows<UsedAddress>(
    db,
    `SELECT address, min(created_at) AS first_used_at, max(created_at) AS last_used_at
     FROM orders WHERE customer_id = ? GROUP BY address ORDER BY max(created_at) DESC LIMIT ?`,
    [customerId, ADDRESSES_MAX],
  );
}

export interface DeliveryRow {
  orderId: string;
  number?: string;
  status: OrderStatus;
  partnerTitle: string;
  pickedUpAt?: string;
  closedAt?: string;
  latitude?: number;
  longitude?: number;
  positionAt?: string;
}

/** The orders of a deliverer, the newest first, from the order after `before`. */
export async function deliveriesOf(
  db: Db,
  delivererId: string,
  { before, limit }: { before?: string | undefined; limit: number },
): Promise<DeliveryRow[]> {
  const after = before
    ? "AND (o.created_at, o.id) < (SELECT b.created_at, b.id FROM orders b WHERE b.id = :before::uuid)"
    : "";
  return rows<DeliveryRow>(
    db,
    `SELECT o.id AS order_id, o.number, o.status, o.partner ->> 'title' AS partner_title, o.picked_up_at, o.closed_at,
       p.latitude, p.longitude, p.reported_at AS position_at
     FROM orders o LEFT JOIN order_positions p ON p.order_id = o.id AND p.deliverer_id = o.deliverer_id
     WHERE o.deliverer_id = :delivererId ${after} ORDER BY o.created_at DESC, o.id DESC LIMIT :limit`,
    { delivererId, limit, ...(before && { before }) },
  );
}

/** The payments and refunds of orders. */
export async function paymentsOf(
  db: Db,
  orderIds: readonly string[],
): Promise<{ receipts: ReceiptRow[]; refunds: RefundRow[] }> {
  const of = "WHERE order_id = ANY (?::uuid[]) ORDER BY id";
  const [receipts, refunds] = await Promise.all([
    rows<ReceiptRow>(db, `${RECEIPT} ${of}`, [orderIds]),
    rows<RefundRow>(db, `${REFUND} ${of}`, [orderIds]),
  ]);
  return { receipts, refunds };
}
