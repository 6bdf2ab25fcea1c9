type Sql = <T = Record<string, unknown>>(text: string, values?: unknown[]) => Promise<T[]>;

/** Money movements as an external observer saw them. */
export interface MoneyLedger {
  /** Payments that were answered with a yes: id and amount. */
  received: ReadonlyMap<string, number>;
  /** The amounts that the bank really refunded, by the refund's id. */
  given: ReadonlyMap<string, number>;
}

/**
 * Holds the books of all orders against themselves and against what was seen outside: to the minor unit, what came in
 * is what is kept and what went back, and each refund went back once. To be asked when nothing moves any more.
 * @returns what is wrong, a line each
 */
export async function moneyProblems(sql: Sql, { received, given }: MoneyLedger): Promise<string[]> {
  const orders = await sql<Record<string, number | string>>(
    `SELECT o.id, o.status, o.payment_status, o.total_minor::float AS total, o.paid_minor::float AS paid,
       o.refunded_minor::float AS refunded, o.refund_pending_minor::float AS pending,
       r.received::float AS received, r.back::float AS back, f.done::float AS done, f.open::integer AS open
     FROM orders o
     LEFT JOIN LATERAL (SELECT coalesce(sum(amount_minor), 0) AS received, coalesce(sum(refund_minor), 0) AS back
       FROM payment_receipts r WHERE r.order_id = o.id AND r.outcome <> 'unmatched') r ON true
     LEFT JOIN LATERAL (SELECT coalesce(sum(f.amount_minor) FILTER (WHERE state = 'completed'), 0) AS done,
         count(*) FILTER (WHERE state NOT IN ('completed', 'failed')) AS open
       FROM refunds f JOIN payment_receipts r USING (bank_id, payment_id)
       WHERE f.order_id = o.id AND r.outcome <> 'unmatched') f ON true`,
  );
  const problems: string[] = [];
  const hold = (is: boolean, what: string) => {
    if (!is) problems.push(what);
  };
  for (const one of orders) {
    const of = `order ${one.id} (${one.status}, ${one.payment_status})`;
    hold(one.paid === one.received, `${of}: paid ${one.paid}, received ${one.received}`);
    hold(one.refunded === one.done, `${of}: refunded ${one.refunded}, by its refunds ${one.done}`);
    hold(one.back === one.done, `${of}: its payments gave back ${one.back}, its refunds ${one.done}`);
    hold(one.open === 0 && one.pending === 0, `${of}: ${one.open} refunds of ${one.pending} are still open`);
    const kept = Number(one.paid) - Number(one.refunded);
    hold(kept >= 0, `${of}: ${kept} are kept`);
    const isOver = one.status === "cancelled" || one.status === "expired";
    hold(
      !isOver || kept === 0 || one.payment_status === "refund_failed",
      `${of}: keeps ${kept} after its end`,
    );
    hold(one.status !== "pending" || kept < Number(one.total), `${of}: is paid and does not know it`);
  }
  const receipts = new Map(
    (
      await sql<{ id: string; amount: number }>(
        "SELECT payment_id AS id, amount_minor::float AS amount FROM payment_receipts",
      )
    ).map(({ id, amount }) => [id, amount]),
  );
  for (const [id, amount] of received) {
    hold(
      receipts.get(id) === amount,
      `payment ${id} of ${amount} was taken, and is booked as ${receipts.get(id)}`,
    );
  }
  const refunds = await sql<{ id: string; amount: number }>(
    "SELECT id, amount_minor::float AS amount FROM refunds WHERE state = 'completed'",
  );
  for (const { id, amount } of refunds) {
    hold(
      given.get(id) === amount,
      `refund ${id} of ${amount} is done by our books, by the bank's ${given.get(id)}`,
    );
  }
  const known = new Set(refunds.map(({ id }) => id));
  for (const [id, amount] of given)
    hold(known.has(id), `the bank gave back ${amount} by ${id}: we do not know`);
  return problems;
}
