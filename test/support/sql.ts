import pg from "pg";

/** Looks into a database, or at it from outside, past the service that owns it. */
export async function query<T>(url: string, text: string, values: unknown[] = []): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text, values)).rows as T[];
  } finally {
    await client.end();
  }
}

/**
 * Like the function above, with open connections, for tests that read often: a connection costs more than most queries.
 * The caller closes it before the database is dropped.
 */
export function onlooker(url: string) {
  const pool = new pg.Pool({ connectionString: url, application_name: "onlooker" });
  pool.on("error", () => undefined); // what a test kills is told to the next question
  return {
    sql: async <T = Record<string, unknown>>(text: string, values: unknown[] = []) =>
      (await pool.query(text, values)).rows as T[],
    close: () => pool.end(),
  };
}
