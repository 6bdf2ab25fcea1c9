import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import pg from "pg";
import { newId } from "../../lib/ids.ts";
import type { Bindings } from "../../lib/sql/bindings.ts";
import { Database, type Db } from "../../lib/sql/database.ts";
import { startPostgres } from "../../platform/embedded-postgres.ts";
import { type DatabaseName, migrate, migrationsFolder } from "../../platform/migrate.ts";
import { exclusively, runFolder } from "./test-run.ts";

/** Longer than in the product: on a busy machine a test waits for a connection, while a customer would get an error. */
export const ACQUIRE_TIMEOUT_MS = 10_000;
/** The same for a whole request, and for the statements in it. Specs about these very limits set them themselves. */
export const REQUEST_TIMEOUT_MS = 30_000;
/** Both as settings of a service. */
export const patientSettings = {
  POSTGRES_ACQUIRE_TIMEOUT_MS: ACQUIRE_TIMEOUT_MS,
  REQUEST_TIMEOUT_MS,
} as const;

/** Every worker of a run may have a whole platform on the one server, each of whose services fills its pool. */
export const CONNECTIONS = 400;
const LEAVE_TIMEOUT_MS = 30_000;
const LEAVE_POLL_MS = 20;

type Query = (sql: string, values?: unknown[]) => Promise<unknown[]>;

export interface TestDatabase {
  readonly url: string;
  /** Removes it. @throws Error when something of the test is still connected: a pool or a service that leaked */
  drop(): Promise<void>;
}

/**
 * A fresh database with the newest schema of one service, on a real server that all files of a run share. The
 * schema is migrated once into a template; a copy of that takes some tens of milliseconds.
 */
export async function createDatabase(service: DatabaseName): Promise<TestDatabase> {
  const server = await serverUrl();
  const template = `template_${service}_${fingerprintOf(service)}`;
  const name = `${service}_${newId().replaceAll("-", "")}`;
  await connected(server, async (query) => {
    await exclusively(template, async () => {
      const known = await query("SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate", [template]);
      if (known.length > 0) return;
      await query(`DROP DATABASE IF EXISTS ${template}`);
      await migrate(service, urlOf(server, template));
      await query(`ALTER DATABASE ${template} IS_TEMPLATE true`);
    });
    await query(`CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY file_copy`);
  });
  return {
    url: urlOf(server, name),
    drop: async () => {
      const leaked = await connected(server, async (query) => {
        const there = await connectionsTo(query, name);
        await query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
        return there;
      });
      if (leaked.length > 0) throw new Error(`the test left connections open: ${leaked.join(", ")}`);
    },
  };
}

/** Connections of the test's own to its database; the test destroys them. */
export function openPool({ url }: Pick<TestDatabase, "url">, poolSize: number): Database {
  return new Database({
    ...{ url, poolSize, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS, requestTimeoutMs: 5 * REQUEST_TIMEOUT_MS },
    applicationName: "test",
  });
}

/** The argument of a migration, for a test that runs a single one. */
export const asKnex = (db: Db): Knex =>
  ({
    raw: (sql: string, bindings?: Bindings) => db.query(sql, bindings),
    transaction: (work: (trx: Knex) => Promise<unknown>) => db.transaction((trx) => work(asKnex(trx))),
  }) as unknown as Knex;

/** The address of the run's server without a database; starts the server if it does not run yet. */
async function serverUrl(): Promise<string> {
  const addressFile = join(runFolder(), "postgres.url");
  if (existsSync(addressFile)) return readFileSync(addressFile, "utf8");
  return await exclusively("postgres", async () => {
    if (existsSync(addressFile)) return readFileSync(addressFile, "utf8");
    const server = await startPostgres({
      dataDir: postgresFolder(runFolder()),
      unsafe: true,
      connections: CONNECTIONS,
    });
    server.unwatch();
    writeFileSync(addressFile, server.url("postgres"));
    return server.url("postgres");
  });
}

/** The clients that are still connected to a database after the time limit, since disconnecting takes a moment. */
async function connectionsTo(query: Query, name: string): Promise<string[]> {
  for (const deadline = Date.now() + LEAVE_TIMEOUT_MS; ; await delay(LEAVE_POLL_MS)) {
    const found = await query("SELECT application_name AS who FROM pg_stat_activity WHERE datname = $1", [
      name,
    ]);
    if (found.length === 0 || Date.now() > deadline) return found.map((row) => (row as { who: string }).who);
  }
}

export function postgresFolder(run: string): string {
  return join(run, "server");
}

function urlOf(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}

function fingerprintOf(service: DatabaseName): string {
  const hash = createHash("sha256");
  for (const folder of [migrationsFolder(service), join(migrationsFolder(service), "..", "shared")]) {
    const names = existsSync(folder) ? readdirSync(folder).sort() : [];
    for (const name of names) hash.update(name).update(readFileSync(join(folder, name)));
  }
  return hash.digest("hex").slice(0, 16);
}

/** Several statements over one connection, which costs more than most of them. */
async function connected<T>(url: string, work: (query: Query) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(async (sql, values = []) => (await client.query(sql, values)).rows);
  } finally {
    await client.end();
  }
}
