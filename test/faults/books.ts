import { MongoClient } from "mongodb";
import { query } from "../support/sql.ts";
import type { Database } from "./cluster.ts";

/** The records of the platform, read from its databases when it is idle. */
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
  notifications: {
    id: string;
    messageId: string;
    addressee: string;
    state: string;
    /** Of which order, if of one, and by which event. */
    orderId?: string;
    event?: string;
    /** It came by mail, since no phone took it. */
    mailed?: boolean;
  }[];
  /** Orders whose payment was reported so late that the notification was outdated: none is sent then. */
  toldTooLate?: string[];
  /** Alerts about payments, refunds and orders, by the id of their message. */
  alerts: { id: string; kind: string; subject: string }[];
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
    alerts: await orders(
      `SELECT id, data ->> 'kind' AS kind, data ->> 'subject' AS subject FROM outbox WHERE type = 'alert.raised'`,
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
      `SELECT id, message_id AS "messageId", addressee, state, order_id AS "orderId", event,
         attempts @> '[{"channel": "email", "outcome": "accepted"}]' AS mailed FROM notifications`,
    ),
    toldTooLate: (
      await query<{ orderId: string }>(
        url("notifications"),
        `SELECT subject AS "orderId" FROM inbox
         WHERE type = 'order.paid' AND state = 'done' AND updated_at - time > interval '30 seconds'`,
      )
    ).map(({ orderId }) => orderId),
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

interface Queue {
  where: string;
  database: Database;
  /** By what its rows are counted, and where they stand. */
  what: string;
  tries: string;
  rows: string;
}

const queues: readonly Queue[] = [
  ...(["orders", "partners", "notifications", "identity"] as const).flatMap((database) => {
    const message = { database, what: "type", tries: "attempts" };
    return [
      { ...message, where: `outbox of ${database}`, rows: "outbox WHERE sent_at IS NULL" },
      { ...message, where: `inbox of ${database}`, rows: "inbox WHERE state = 'waiting'" },
    ];
  }),
  {
    ...{ where: "refunds", database: "orders", what: "state", tries: "attempts" },
    rows: "refunds WHERE state NOT IN ('completed', 'failed')",
  },
  {
    ...{ where: "webhooks", database: "partners", what: "type", tries: "attempt" },
    rows: "webhook_deliveries d JOIN webhook_messages m ON m.id = d.webhook_message_id WHERE d.state = 'pending'",
  },
  {
    ...{ where: "notifications", database: "notifications", what: "state", tries: "0" },
    rows: "notifications WHERE state = 'pending'",
  },
];

/** The unfinished work by kind, with the highest number of attempts of each kind; empty when the platform is idle. */
export async function whatMoves(url: (database: Database) => string): Promise<Record<string, string>> {
  const found = await Promise.all(
    queues.map(async ({ where, database, what, tries, rows }) => {
      const kinds = await query<{ kind: string; count: number; tries: number }>(
        url(database),
        `SELECT ${what} AS kind, count(*)::integer AS count, max(${tries}) AS tries FROM ${rows} GROUP BY 1`,
      );
      return kinds.map(
        ({ kind, count, tries }) => [`${where}: ${kind}`, `${count}, tries ${tries}`] as const,
      );
    }),
  );
  return Object.fromEntries(found.flat());
}
