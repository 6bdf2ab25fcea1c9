import { MongoClient } from "mongodb";
import { query } from "../support/sql.ts";
import type { Database } from "./cluster.ts";

/** What the platform wrote down, read behind its back once nothing moves any more. */
export interface Books {
  orders: {
    id: string;
    status: string;
    version: number;
    total: number;
    paid: number;
    refunded: number;
    pending: number;
  }[];
  transitions: { orderId: string; version: number; type: string; from?: string; to: string }[];
  events: { eventId: string; paymentId?: string }[];
  receipts: { paymentId: string; orderId?: string; amount: number; outcome: string }[];
  refunds: { id: string; orderId: string; paymentId: string; amount: number; state: string }[];
  callbacks: { partnerId: string; eventId: string; orderId: string; type: string }[];
  webhooks: {
    partnerId: string;
    webhookId: string;
    type: string;
    orderId?: string;
    stopped: boolean;
    states: string[];
  }[];
  reservations: { orderId: string; productId: string; taken: number; state: string }[];
  stock: { productId: string; left: number }[];
  notifications: { id: string; messageId: string; addressee: string; state: string }[];
  deadLetters: { consumer: string; type: string; subject: string; error: string }[];
  paymentDocuments: { id: string; kind: string; paymentId: string; amount: number }[];
  historyDocuments: { id: string; orderId: string; version: number }[];
}

/** How to look into the databases. */
export interface Shelf {
  url(database: Database): string;
  mongoUrl: string;
}

export async function readBooks({ url, mongoUrl }: Shelf): Promise<Books> {
  const orders = <T>(text: string) => query<T>(url("orders"), text);
  const partners = <T>(text: string) => query<T>(url("partners"), text);
  const dead = `SELECT consumer, type, subject, coalesce(error, '') AS error FROM inbox WHERE state IN ('dead', 'quarantined')`;
  const documents = await readDocuments(mongoUrl);
  return {
    orders: await orders(
      `SELECT id, status, version, total_minor::float AS total, paid_minor::float AS paid,
         refunded_minor::float AS refunded, refund_pending_minor::float AS pending FROM orders`,
    ),
    transitions: await orders(
      `SELECT order_id AS "orderId", version, type, from_status AS "from", to_status AS "to"
       FROM order_transitions ORDER BY order_id, version`,
    ),
    events: await orders(`SELECT event_id AS "eventId", payment_id AS "paymentId" FROM payment_events`),
    receipts: await orders(
      `SELECT payment_id AS "paymentId", order_id AS "orderId", amount_minor::float AS amount, outcome
       FROM payment_receipts`,
    ),
    refunds: await orders(
      `SELECT id, order_id AS "orderId", payment_id AS "paymentId", amount_minor::float AS amount, state FROM refunds`,
    ),
    callbacks: await orders(
      `SELECT partner_id AS "partnerId", event_id AS "eventId", order_id AS "orderId", type FROM partner_callbacks`,
    ),
    webhooks: await partners(
      `SELECT m.partner_id AS "partnerId", m.message_id AS "webhookId", m.type, m.order_id AS "orderId",
         m.stopped_at IS NOT NULL AS stopped, array_agg(d.state ORDER BY d.attempt) AS states
       FROM webhook_messages m JOIN webhook_deliveries d ON d.webhook_message_id = m.id GROUP BY m.id`,
    ),
    reservations: await partners(
      `SELECT order_id AS "orderId", product_id AS "productId", taken, state
       FROM stock_reservation_lines JOIN stock_reservations USING (order_id)`,
    ),
    stock: await partners(
      `SELECT product_id AS "productId", stock AS left FROM availability WHERE stock IS NOT NULL`,
    ),
    notifications: await query(
      url("notifications"),
      `SELECT id, message_id AS "messageId", addressee, state FROM notifications`,
    ),
    deadLetters: (
      await Promise.all(
        (["orders", "partners", "notifications", "identity"] as const).map((name) =>
          query<Books["deadLetters"][number]>(url(name), dead),
        ),
      )
    ).flat(),
    ...documents,
  };
}

async function readDocuments(
  mongoUrl: string,
): Promise<Pick<Books, "paymentDocuments" | "historyDocuments">> {
  const client = new MongoClient(mongoUrl);
  try {
    const database = client.db("waybill");
    const payments = await database.collection("payments").find().toArray();
    const history = await database.collection("order_history").find().toArray();
    return {
      paymentDocuments: payments.map(({ _id, kind, paymentId, amount }) => ({
        ...{ id: String(_id), kind, paymentId, amount: amount.amountMinor },
      })),
      historyDocuments: history.map(({ _id, orderId, version }) => ({ id: String(_id), orderId, version })),
    };
  } finally {
    await client.close();
  }
}

const WAITING = "SELECT count(*)::integer AS n FROM outbox WHERE sent_at IS NULL";
const UNHANDLED = "SELECT count(*)::integer AS n FROM inbox WHERE state = 'waiting'";

/** What still moves, by what it is; empty when all is quiet. */
export async function whatMoves(url: (database: Database) => string): Promise<Record<string, number>> {
  const asked: [string, Database, string][] = [
    ...(["orders", "partners", "notifications", "identity"] as const).flatMap(
      (name): [string, Database, string][] => [
        [`outbox of ${name}`, name, WAITING],
        [`inbox of ${name}`, name, UNHANDLED],
      ],
    ),
    [
      "refunds",
      "orders",
      "SELECT count(*)::integer AS n FROM refunds WHERE state NOT IN ('completed', 'failed')",
    ],
    ["webhooks", "partners", "SELECT count(*)::integer AS n FROM webhook_deliveries WHERE state = 'pending'"],
    [
      "notifications",
      "notifications",
      "SELECT count(*)::integer AS n FROM notifications WHERE state = 'pending'",
    ],
  ];
  const found = await Promise.all(
    asked.map(async ([what, database, text]) => {
      const [row] = await query<{ n: number }>(url(database), text);
      return [what, row?.n ?? 0] as const;
    }),
  );
  return Object.fromEntries(found.filter(([, count]) => count > 0));
}
