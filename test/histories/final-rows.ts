type Sql = <T = Record<string, unknown>>(text: string, values?: unknown[]) => Promise<T[]>;

/** Orders whose money does not add up, once no refund is open: received is what is kept and what went back. */
export function brokenMoney(sql: Sql): Promise<{ id: string }[]> {
  return sql(
    `SELECT o.id FROM orders o
     LEFT JOIN LATERAL (SELECT coalesce(sum(amount_minor), 0) AS received, coalesce(sum(refund_minor), 0) AS back
       FROM payment_receipts r WHERE r.order_id = o.id AND r.currency = o.currency) r ON true
     LEFT JOIN LATERAL (SELECT coalesce(sum(amount_minor) FILTER (WHERE state = 'completed'), 0) AS done,
       count(*) FILTER (WHERE state NOT IN ('completed', 'failed')) AS open
       FROM refunds f WHERE f.order_id = o.id AND f.currency = o.currency) f ON true
     WHERE o.paid_minor <> r.received OR o.refunded_minor <> f.done OR r.back <> f.done OR f.open <> 0
       OR o.refund_pending_minor <> 0
       OR (o.status IN ('cancelled', 'expired') AND o.paid_minor <> o.refunded_minor + o.refund_failed_minor)
       OR o.paid_minor - o.refunded_minor > o.total_minor + o.refund_failed_minor`,
  );
}

/** Orders whose history is not one line from state to state, or leads elsewhere than to where they are. */
export function brokenHistories(sql: Sql): Promise<{ order_id: string }[]> {
  return sql(
    `WITH lines AS (
       SELECT order_id, version, from_status, to_status,
         lag(to_status) OVER w AS before, lead(version) OVER w IS NULL AS is_last
       FROM order_transitions WINDOW w AS (PARTITION BY order_id ORDER BY version))
     SELECT l.order_id FROM lines l JOIN orders o ON o.id = l.order_id
     WHERE l.from_status IS DISTINCT FROM l.before OR (l.is_last AND l.to_status <> o.status)
       OR l.version > o.version`,
  );
}

/** Orders under way or delivered without a courier, or whose courier changed without a transition. */
export function brokenCouriers(sql: Sql): Promise<{ id: string }[]> {
  return sql(
    `SELECT o.id FROM orders o
     WHERE (o.status IN ('delivering', 'delivered')) AND o.deliverer_id IS NULL
        OR o.status IN ('delivering', 'delivered') AND o.deliverer_id::text IS DISTINCT FROM (
          SELECT t.actor FROM order_transitions t WHERE t.order_id = o.id AND t.type = 'order.assigned'
          ORDER BY t.version DESC LIMIT 1)`,
  );
}

/**
 * Payments that no order counts and without an alert of their own; of those in a currency that is
 * not the order's, also those that did not go back whole.
 */
export function brokenStrays(sql: Sql): Promise<{ id: string }[]> {
  return sql(
    `SELECT r.payment_id AS id FROM payment_receipts r
     WHERE r.outcome = 'unmatched' AND (
       (SELECT count(*) FROM outbox
        WHERE type = 'alert.raised' AND data ->> 'kind' = 'payment.unmatched' AND data ->> 'subject' = r.payment_id) <> 1
       OR r.order_id IS NOT NULL AND r.amount_minor IS DISTINCT FROM
         (SELECT sum(f.amount_minor) FROM refunds f WHERE f.payment_id = r.payment_id AND f.state = 'completed'))`,
  );
}

/** How many payments no order counts. */
export async function countStrays(sql: Sql): Promise<number> {
  const [found] = await sql<{ count: number }>(
    "SELECT count(*)::integer AS count FROM payment_receipts WHERE outcome = 'unmatched'",
  );
  return found?.count ?? 0;
}
