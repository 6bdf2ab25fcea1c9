import pg from "pg";

/**
 * Breaks a service for as long as `work` runs: a statement is changed on its way to the database, so the service
 * itself is whole.
 */
async function withStatement<T>(change: (sql: string) => string, work: () => Promise<T>): Promise<T> {
  const prototype = pg.Client.prototype as unknown as { query: (...args: unknown[]) => unknown };
  const real = prototype.query;
  prototype.query = function (this: unknown, ...args: unknown[]) {
    const [query] = args as [string | { text?: string; name?: string | undefined }];
    if (typeof query === "object" && query.text) {
      const { text } = query;
      query.text = change(text);
      if (query.text !== text) query.name = undefined; // which is that of the statement as it was
    }
    return real.apply(this, args);
  };
  try {
    return await work();
  } finally {
    prototype.query = real;
  }
}

const GUARDED =
  /(UPDATE orders SET version = .*?WHERE id = \$\d+) AND version = (\$\d+) AND status = (\$\d+)/s;

/** Updates of orders no longer ask for the state and version that they were decided on. */
export function withoutVersionGuard<T>(work: () => Promise<T>): Promise<T> {
  return withStatement((sql) => sql.replace(GUARDED, "$1 AND $2::integer > 0 AND $3::text <> ''"), work);
}

/** Repeated messages of an order are treated as new ones. */
export function withoutNewestWins<T>(work: () => Promise<T>): Promise<T> {
  const known = "order_id, partner_id, state, order_version FROM stock_reservations";
  return withStatement(
    (sql) => sql.replace(known, known.replace("order_version", "0 AS order_version")),
    work,
  );
}
