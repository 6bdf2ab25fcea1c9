import pg from "pg";

/**
 * Breaks the service for as long as `work` runs: its updates of orders no longer ask for the state and version
 * that they were decided on. The statement is changed on its way to the database, so the service itself is whole.
 */
export async function withoutVersionGuard<T>(work: () => Promise<T>): Promise<T> {
  const prototype = pg.Client.prototype as unknown as { query: (...args: unknown[]) => unknown };
  const real = prototype.query;
  prototype.query = function (this: unknown, ...args: unknown[]) {
    const [query] = args as [string | { text?: string }];
    if (typeof query === "object" && query.text) query.text = unguarded(query.text);
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

function unguarded(text: string): string {
  return text.replace(GUARDED, "$1 AND $2::integer > 0 AND $3::text <> ''");
}
