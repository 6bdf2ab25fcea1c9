import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { familyMicros } from "./process.ts";

const DRAIN_TIMEOUT_MS = 120_000;
const POLL_MS = 50;
/** The databases of the services. */
export const OWN = ["orders", "partners", "notifications", "identity"];

/** The embedded PostgreSQL of a platform, seen by its administrator. */
export class BenchDatabase {
  readonly #dataDir: string;
  readonly #clients = new Map<string, pg.Client>();

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  /** The server's own database `postgres`: beside ours, on the same disk. */
  urlOf(name: string): string {
    const port = this.#pidFile()[3];
    const password = readFileSync(join(this.#dataDir, "postgres.password"), "utf8").trim();
    return `postgresql://waybill:${encodeURIComponent(password)}@127.0.0.1:${port}/${name}`;
  }

  /** CPU time of the server with all of its processes so far, in microseconds. */
  cpuMicros(): number {
    return familyMicros(Number(this.#pidFile()[0]));
  }

  /** Write-ahead log and committed transactions so far. Statistics are a second late, so the caller waits before. */
  async totals(): Promise<{ walBytes: number; transactions: number }> {
    const [found] = await this.query(
      "postgres",
      `SELECT pg_current_wal_insert_lsn() - '0/0' AS wal,
         (SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database WHERE datname <> 'postgres') AS transactions`,
    );
    return { walBytes: Number(found?.wal), transactions: Number(found?.transactions) };
  }

  /** The messages that all services have put into their outboxes so far. */
  async messages(): Promise<number> {
    const counts = await Promise.all(OWN.map((name) => this.query(name, "SELECT count(*) FROM outbox")));
    return counts.reduce((sum, [found]) => sum + Number(found?.count), 0);
  }

  /** Has the server log each statement from now on, or no more. */
  async logStatements(on: boolean): Promise<void> {
    await this.query("postgres", `ALTER SYSTEM SET log_statement = ${on ? "'all'" : "'none'"}`);
    await this.query("postgres", "SELECT pg_reload_conf()");
    await delay(500);
  }

  /** The statements that the server has logged since `offset`, without values. */
  loggedSince(offset: number): string[] {
    const text = this.#logs().slice(offset);
    return [...text.matchAll(/LOG: {2}(?:statement|execute [^:]*): ([\s\S]*?)(?=\n\d{4}-\d\d-\d\d |$)/g)].map(
      ([, sql]) => (sql as string).replace(/\s+/g, " ").trim(),
    );
  }

  logLength(): number {
    return this.#logs().length;
  }

  /** Waits until nothing waits any more: outboxes, inboxes and webhooks are empty. */
  async drained(): Promise<void> {
    const deadline = Date.now() + DRAIN_TIMEOUT_MS;
    for (;;) {
      const waiting = await Promise.all(OWN.map((name) => this.#waiting(name)));
      if (waiting.every((count) => count === 0)) return;
      if (Date.now() > deadline) throw new Error(`not drained: ${waiting}`);
      await delay(POLL_MS);
    }
  }

  async query(database: string, sql: string): Promise<Record<string, unknown>[]> {
    let client = this.#clients.get(database);
    if (!client) {
      client = new pg.Client({ connectionString: this.urlOf(database), application_name: "bench" });
      this.#clients.set(database, client);
      await client.connect();
    }
    return (await client.query(sql)).rows;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.end()));
    this.#clients.clear();
  }

  async #waiting(name: string): Promise<number> {
    const webhooks =
      name === "partners"
        ? " + (SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND due_at < now() + interval '1 minute')"
        : "";
    const [found] = await this.query(
      name,
      `SELECT (SELECT count(*) FROM outbox WHERE sent_at IS NULL)
         + (SELECT count(*) FROM inbox WHERE state = 'waiting')${webhooks} AS count`,
    );
    return Number(found?.count);
  }

  #pidFile(): string[] {
    return readFileSync(join(this.#dataDir, "postgres/postmaster.pid"), "utf8").split("\n");
  }

  #logs(): string {
    const folder = join(this.#dataDir, "postgres/log");
    const files = readdirSync(folder).map((file) => join(folder, file));
    files.sort((a, b) => statSync(a).birthtimeMs - statSync(b).birthtimeMs);
    return files.map((file) => readFileSync(file, "latin1")).join("");
  }
}
