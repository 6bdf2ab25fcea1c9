import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import knex, { type Knex } from "knex";
import pg from "pg";

/** The services that own a database; also the names of the folders under migrations/. */
export const databases = ["orders", "partners", "notifications", "identity"] as const;
export type DatabaseName = (typeof databases)[number];

const TABLE = "knex_migrations";
const LOCK_KEY = 7_205_119;
const LOCK_POLL_MS = 100;
const NO_SUCH_DATABASE = "3D000";
const DATABASE_EXISTS = new Set(["42P04", "23505"]);

export function migrationsFolder(service: DatabaseName): string {
  return fileURLToPath(new URL(`../migrations/${service}`, import.meta.url));
}

export interface Migrated {
  service: DatabaseName;
  /** The names of the migrations that ran now, oldest first. */
  applied: string[];
}

/**
 * Migrates one database to the newest schema, and creates the database if it is missing and the user may do so. Several
 * processes may call it at once: one migrates, the others wait.
 * @param url a direct connection: the lock belongs to the session
 */
export async function migrate(service: DatabaseName, url: string): Promise<Migrated> {
  const lock = await connectOrCreate(url);
  try {
    await takeLock(lock);
    return { service, applied: await runMigrations(service, url) };
  } finally {
    await lock.end();
  }
}

/**
 * For a process that must not migrate: checks that the schema is the one of this code.
 * @throws Error in one line when the schema is older or newer
 */
export async function checkSchema(service: DatabaseName, url: string): Promise<void> {
  await withKnex(service, url, async (db) => {
    const known = await sourceOf(migrationsFolder(service)).getMigrations([]);
    const applied = (await db.schema.hasTable(TABLE))
      ? (await db.raw(`SELECT name FROM ${TABLE}`)).rows.map(({ name }: { name: string }) => name)
      : [];
    const pending = known.filter((name) => !applied.includes(name));
    const unknown = applied.filter((name: string) => !known.includes(name));
    if (unknown.length > 0)
      throw new Error(`the database of ${service} is newer than this code: ${unknown[0]}`);
    if (pending.length > 0) {
      throw new Error(`the database of ${service} lacks ${pending.length} migrations: npm run migrate`);
    }
  });
}

/** Undoes all migrations; for the test of the down migrations. */
export async function migrateDown(service: DatabaseName, url: string): Promise<void> {
  await withKnex(service, url, (db) => db.migrate.rollback(undefined, true));
}

/**
 * Polls for the lock. A statement that waits for it would hold a snapshot, and CREATE INDEX CONCURRENTLY of the process
 * with the lock would wait for that snapshot: a deadlock.
 */
async function takeLock(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query("SELECT pg_try_advisory_lock($1) AS taken", [LOCK_KEY]);
    if (rows[0].taken) return;
    await delay(LOCK_POLL_MS);
  }
}

async function runMigrations(service: DatabaseName, url: string): Promise<string[]> {
  return await withKnex(service, url, async (db) => {
    // We hold our lock, so knex's own lock is left over from a process that was killed.
    if (await db.schema.hasTable(`${TABLE}_lock`)) await db.migrate.forceFreeMigrationsLock();
    const [, applied] = (await db.migrate.latest()) as [number, string[]];
    return applied;
  });
}

async function withKnex<T>(service: DatabaseName, url: string, work: (db: Knex) => Promise<T>): Promise<T> {
  const db = knex({
    client: "pg",
    connection: { connectionString: url, application_name: `waybill migrate ${service}` },
    pool: { min: 0, max: 2 },
    migrations: { tableName: TABLE, migrationSource: sourceOf(migrationsFolder(service)) },
  });
  try {
    return await work(db);
  } finally {
    await db.destroy();
  }
}

/** knex's own loader would require() the files; they are ES modules in TypeScript. */
function sourceOf(folder: string): Knex.MigrationSource<string> {
  return {
    getMigrations: async () =>
      existsSync(folder)
        ? readdirSync(folder)
            .filter((name) => /^\d{4}_.*\.ts$/.test(name))
            .sort()
        : [],
    getMigrationName: (name) => name,
    getMigration: (name) => import(pathToFileURL(join(folder, name)).href) as Promise<Knex.Migration>,
  };
}

async function connectOrCreate(url: string): Promise<pg.Client> {
  try {
    return await connect(url);
  } catch (error) {
    if ((error as { code?: string }).code !== NO_SUCH_DATABASE) throw error;
  }
  const maintenance = new URL(url);
  const name = decodeURIComponent(maintenance.pathname.slice(1));
  maintenance.pathname = "/postgres";
  const client = await connect(maintenance.href);
  try {
    await client.query(`CREATE DATABASE ${pg.escapeIdentifier(name)}`);
  } catch (error) {
    if (!DATABASE_EXISTS.has((error as { code?: string }).code ?? "")) throw error;
  } finally {
    await client.end();
  }
  return await connect(url);
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: "waybill migrate" });
  await client.connect();
  return client;
}
