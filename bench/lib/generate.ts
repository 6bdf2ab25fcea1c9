/** Generates the rows that orders leave in the databases, by SQL. Used by plan tests and the soak. */

/** Orders with the numbers from `first`, spread evenly over a time. */
export interface Batch {
  first: number;
  count: number;
  /** SQL of a timestamptz. */
  since: string;
  until: string;
  /** Default: filler texts have a realistic length. */
  short?: boolean;
}

export const BANK = "00000000-0000-7000-8000-00000000beef";
const PARTNERS = 50;
const CUSTOMERS = 20_000;
const STEPS = [
  ["order.created", "", "pending"],
  ["order.paid", "pending", "paid"],
  ["order.accepted", "paid", "preparing"],
  ["order.ready", "preparing", "ready"],
  ["order.assigned", "ready", "delivering"],
  ["order.delivered", "delivering", "delivered"],
] as const;

/** An id that contains a time, as a UUIDv7. @param kind two hexadecimal digits @param n SQL of a number */
export function idAt(at: string, n: string, kind = "00"): string {
  const ms = `lpad(to_hex((extract(epoch FROM ${at}) * 1000)::bigint), 12, '0')`;
  return `(substr(${ms}, 1, 8) || '-' || substr(${ms}, 9, 4) || '-7000-8${kind}0-' || lpad(to_hex(${n}), 12, '0'))::uuid`;
}

/** The beginning of such an id, up to its kind: `made` has it once for all rows of an order. */
const stampOf = (at: string) => {
  const ms = `lpad(to_hex((extract(epoch FROM ${at}) * 1000)::bigint), 12, '0')`;
  return `substr(${ms}, 1, 8) || '-' || substr(${ms}, 9, 4) || '-7000-8'`;
};
const madeId = (n: string, kind: string) => `(stamp || '${kind}0-' || lpad(to_hex(${n}), 12, '0'))::uuid`;

const fixedId = (kind: string, n: string) =>
  `('00000000-0000-7000-8${kind}0-' || lpad((${n})::text, 12, '0'))::uuid`;
const ORDER = "made_order_id";
const steps = STEPS.map(
  ([type, from, to], v) => `(${v + 1}, '${type}', nullif('${from}', ''), '${to}')`,
).join(", ");
/** A filler text. @param text SQL, of 32 characters */
const filler = ({ short }: Batch, text: string, chars: number) =>
  `repeat(${text}, ${short ? 1 : Math.ceil(chars / 32)})`;
/** As large as the snapshot of an order in a message. */
const snapshot = (batch: Batch) =>
  `jsonb_build_object('orderId', ${ORDER}, 'version', v, 'customer', jsonb_build_object('id', ${fixedId("01", `n % ${CUSTOMERS}`)}),
  'filler', ${filler(batch, "md5(n::text || v::text)", 900)})`;

// OFFSET prevents the planner from computing the same id for each column and line again.
const each = ({ first, count, since, until }: Batch) => `
  (SELECT n, t, stamp, (stamp || '000-' || lpad(to_hex(n), 12, '0'))::uuid AS made_order_id
   FROM (SELECT n, t, ${stampOf("t")} AS stamp
     FROM (SELECT n, ${since} + (${until} - ${since}) * ((n - ${first})::float8 / ${count}) AS t
       FROM generate_series(${first}::bigint, ${first + count - 1}::bigint) n OFFSET 0) AS timed
     OFFSET 0) AS stamped
   OFFSET 0) AS made`;
const eachStep = (batch: Batch) =>
  `${each(batch)} CROSS JOIN (VALUES ${steps}) AS step(v, type, from_status, to_status)`;

export type Part = "orders" | "lines" | "history" | "messages" | "documents" | "positions" | "keys";

/** The rows of Orders. All orders are delivered; one in fifty has a refund. */
export function orderRows(batch: Batch): Record<Part, string[]> {
  return {
    orders: [
      `INSERT INTO orders (id, version, status, payment_status, customer_id, customer_name, customer_phone, partner_id,
         partner, deliverer_id, currency, fee_minor, total_minor, paid_minor, address, bank_id, checkout_url, pay_by,
         closed_at, paid_at, created_at, updated_at)
       SELECT ${ORDER}, 6, 'delivered', 'paid', ${fixedId("01", `n % ${CUSTOMERS}`)}, 'Ada Byron', '+4930123456',
         ${fixedId("02", `n % ${PARTNERS}`)}, '{"title": "Bakery", "phone": "+4930123456", "pickup": {"line1": "Main Street 1", "city": "Berlin", "country": "DE"}}',
         ${fixedId("03", "n % 500")}, 'EUR', 300, 1000, 1000,
         '{"line1": "Side Street 12", "postalCode": "10115", "city": "Berlin", "country": "DE", "latitude": 52.5, "longitude": 13.4}',
         '${BANK}', 'https://bank.example/pay/' || n, t, t + interval '40 minutes', t, t, t FROM ${each(batch)}`,
      `INSERT INTO payment_events (bank_id, event_id, body_hash, body, kind, payment_id, created_at)
       SELECT '${BANK}', 'evt_' || n, md5(n::text) || md5(n::text), ${filler(batch, "md5(n::text)", 640)}, 'paid', 'p' || n, t
       FROM ${each(batch)}`,
      `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, order_id, stated_order, amount_minor, currency,
         outcome, created_at)
       SELECT ${madeId("n", "05")}, '${BANK}', 'p' || n, 'evt_' || n, ${ORDER}, ${ORDER}::text, 1000, 'EUR', 'accepted', t
       FROM ${each(batch)}`,
      `INSERT INTO refunds (id, order_id, bank_id, payment_id, amount_minor, currency, reason, state, created_at)
       SELECT ${madeId("n", "06")}, ${ORDER}, '${BANK}', 'p' || n, 100, 'EUR', 'The bread was cold', 'completed', t
       FROM ${each(batch)} WHERE n % 50 = 0`,
    ],
    lines: [
      `INSERT INTO order_lines (order_id, line_number, product_id, title, quantity, unit_price_minor)
       SELECT ${ORDER}, line, ${fixedId("04", "n % 1000")}, 'Bread with butter', 1, 350
       FROM ${each(batch)} CROSS JOIN generate_series(1, 2) line`,
    ],
    history: [
      `INSERT INTO order_transitions (id, order_id, version, type, from_status, to_status, actor, trace_id, created_at)
       SELECT ${madeId("n * 8 + v", "07")}, ${ORDER}, v, type, from_status, to_status,
         'partner:00000000-0000-7000-8000-000000000001', md5(n::text), t FROM ${eachStep(batch)}`,
      `INSERT INTO partner_callbacks (partner_id, event_id, body_hash, type, order_id, created_at)
       SELECT ${fixedId("02", `n % ${PARTNERS}`)}, 'cb' || n || '/' || v, md5(n::text) || md5(v::text), type, ${ORDER}, t
       FROM ${eachStep(batch)} WHERE v IN (3, 4)`,
    ],
    positions: [
      `INSERT INTO order_positions (order_id, latitude, longitude, reported_at)
       SELECT ${ORDER}, 52.5, 13.4, t FROM ${each(batch)}`,
    ],
    keys: [
      `INSERT INTO idempotency_keys (user_id, scope, key, body_hash, answer, created_at)
       SELECT 'user ' || n % ${CUSTOMERS}, 'orders.confirm', n::text, md5(n::text), to_json(repeat(md5(n::text), 8)), t
       FROM ${each(batch)}`,
    ],
    messages: [...outboxRows(batch, "08"), ...inboxRows(batch, "orders", "08")],
    documents: [
      `INSERT INTO documents.order_history (id, document)
       SELECT ${madeId("n * 8 + v", "09")}::text, jsonb_build_object('orderId', ${ORDER}, 'type', type, 'at', t,
         'from', from_status, 'to', to_status, 'actor', 'partner:00000000-0000-7000-8000-000000000001',
         'traceId', md5(n::text), 'version', v) FROM ${eachStep(batch)}`,
      `INSERT INTO documents.payments (id, document)
       SELECT ${madeId("n", "0a")}::text, jsonb_build_object('kind', 'receipt', 'orderId', ${ORDER}, 'bankId', '${BANK}',
         'paymentId', 'p' || n, 'amount', '{"amountMinor": 1000, "currency": "EUR"}'::jsonb, 'outcome', 'accepted',
         'at', to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) FROM ${each(batch)}`,
    ],
  };
}

/** The rows of Partners: for each order a reservation, and two webhooks with one try each. */
export function partnerRows(batch: Batch): Record<"orders" | "lines" | "messages", string[]> {
  const webhook = madeId("n * 8 + v", "0b");
  return {
    orders: [
      `INSERT INTO stock_reservations (order_id, partner_id, state, order_version, created_at, updated_at)
       SELECT ${ORDER}, ${fixedId("02", `n % ${PARTNERS}`)}, 'committed', 2, t, t FROM ${each(batch)}`,
      `INSERT INTO webhook_messages (id, partner_id, message_id, type, order_id, urgency, body, created_at)
       SELECT ${webhook}, ${fixedId("02", `n % ${PARTNERS}`)}, 'msg' || n || '/' || v, type, ${ORDER}, 'information',
         ${filler(batch, "md5(n::text)", 800)}, t FROM ${eachStep(batch)} WHERE v IN (2, 6)`,
      `INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at, status_code,
         duration_ms, response_head, created_at)
       SELECT ${madeId("n * 8 + v", "0c")}, ${webhook}, ${fixedId("02", `n % ${PARTNERS}`)}, 1,
         CASE WHEN n % 100 = 0 THEN 'dead' ELSE 'accepted' END, t, 204, 80, 'HTTP/1.1 204 No Content', t
       FROM ${eachStep(batch)} WHERE v IN (2, 6)`,
    ],
    lines: [
      `INSERT INTO stock_reservation_lines (order_id, product_id, quantity, unit_price_minor, taken)
       SELECT ${ORDER}, ${fixedId("04", "n % 1000 + line")}, 1, 350, 1
       FROM ${each(batch)} CROSS JOIN generate_series(1, 2) line`,
    ],
    messages: inboxRows(batch, "partners", "08", "v IN (2, 6)"),
  };
}

/** The rows of Notifications: four notifications for each order, with their documents and messages. */
export function notificationRows(batch: Batch): Record<"orders" | "messages" | "documents", string[]> {
  const id = madeId("n * 8 + v", "0d");
  const person = fixedId("01", `n % ${CUSTOMERS}`);
  const attempts = `jsonb_build_array(jsonb_build_object('channel', 'push', 'provider', 'fcm', 'outcome', 'sent', 'at', t,
    'durationMs', 120, 'detail', 'projects/bakery/messages/' || md5(n::text)))`;
  return {
    orders: [
      `INSERT INTO notifications (id, message_id, addressee, user_id, order_id, event, title, body, state, attempts, passes, created_at)
       SELECT ${id}, ${id}, ${person}::text, ${person}, ${ORDER}, type, 'Your order', 'The bakery has begun to prepare it.',
         'sent', ${attempts}, 1, t FROM ${eachStep(batch)} WHERE v > 2`,
      `INSERT INTO known_orders (order_id, customer_id, version, created_at)
       SELECT ${ORDER}, ${person}, 6, t FROM ${each(batch)}`,
    ],
    documents: [
      `INSERT INTO documents.notifications (id, document)
       SELECT ${id}::text, jsonb_build_object('userId', ${person}, 'orderId', ${ORDER}, 'event', type, 'title', 'Your order',
         'body', 'The bakery has begun to prepare it.', 'state', 'sent', 'attempts', ${attempts}, 'passes', 1, 'createdAt', t)
       FROM ${eachStep(batch)} WHERE v > 2`,
    ],
    messages: [
      ...outboxRows(batch, "0e", "v > 2"),
      ...inboxRows(batch, "notifications", "08"),
      ...inboxRows(batch, "notifications", "0e", "v > 2"),
    ],
  };
}

function outboxRows(batch: Batch, kind: string, which = "true"): string[] {
  return [
    `INSERT INTO outbox (id, source, type, subject, time, dataschema, data, sent_at, created_at)
     SELECT ${madeId("n * 8 + v", kind)}, 'waybill/service', type, ${ORDER}::text, t, 'waybill:' || type || ':1',
       ${snapshot(batch)}, t, t FROM ${eachStep(batch)} WHERE ${which}`,
  ];
}

function inboxRows(batch: Batch, consumer: string, kind: string, which = "true"): string[] {
  const id = madeId("n * 8 + v", kind);
  return [
    `INSERT INTO inbox (message_id, consumer, source, type, subject, time, dataschema, data, state, attempts,
       created_at)
     SELECT ${id}, '${consumer}', 'waybill/service', type, ${ORDER}::text, t, 'waybill:' || type || ':1', ${snapshot(batch)},
       'done', 1, t
     FROM ${eachStep(batch)} WHERE ${which}`,
  ];
}

/** Dead letters. */
export function deadLetterRows(batch: Batch, consumer: string): string[] {
  const id = madeId("n", "0f");
  return [
    `INSERT INTO inbox (message_id, consumer, source, type, subject, time, dataschema, data, state, attempts, error,
       dead_letter_id, created_at)
     SELECT ${id}, '${consumer}', 'waybill/service', 'order.paid', ${ORDER}::text, t, 'waybill:order.paid:1', '{}',
       'dead', 5, 'the agent is switched off', ${id}, t FROM ${each(batch)}`,
  ];
}

/** Payments that match no order. */
export function unmatchedRows(batch: Batch): string[] {
  return [
    `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, stated_order, amount_minor, currency, outcome, created_at)
     SELECT ${madeId("n", "10")}, '${BANK}', 'unmatched' || n, 'unmatched' || n, 'unknown', 1000, 'EUR', 'unmatched', t
     FROM ${each(batch)}`,
  ];
}

/** The bank that the orders were paid at. */
export const bankRow = `
  INSERT INTO banks (id, title, adapter, settings, webcheckout_url, active)
  VALUES ('${BANK}', 'Generated', 'sandbox', 's', 'https://bank.example', false)`;

/** Entries of the event log: alerts, the newest one `interval` ago and each older one as long before it. */
export const logRows = (count: number, interval: string): string => `
  INSERT INTO event_log (id, message_id, kind, data, created_at)
  SELECT (extract(epoch FROM at) * 1000000)::bigint, gen_random_uuid(), 'alert', '{}', at
  FROM generate_series(1, ${count}) n, LATERAL (SELECT now() - n * interval '${interval}' AS at) AS age`;
