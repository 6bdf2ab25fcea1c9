import { ServiceBroker, type ServiceSchema } from "moleculer";
import { type Message, message } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { type Postgres, postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { migrate } from "../../platform/migrate.ts";
import type { BenchDatabase } from "./database.ts";

/** A new database with the tables of Orders, in the PostgreSQL of a running platform. */
export async function newDatabase(database: BenchDatabase, name: string): Promise<Postgres> {
  const url = database.urlOf(name);
  await migrate("orders", url);
  return postgres({ url, poolSize: 10, acquireTimeoutMs: 10_000, name: "bench" });
}

/** Starts a service in this process. */
export async function startService(schema: Partial<ServiceSchema>): Promise<ServiceBroker> {
  const broker = new ServiceBroker({ namespace: newId(), logger: false, skipProcessEventRegistration: true });
  broker.createService({ name: "orders", ...schema } as ServiceSchema);
  await broker.start();
  return broker;
}

/** Small messages, each with a subject of its own. */
export function smallMessages(count: number): Message[] {
  return Array.from({ length: count }, () => {
    const userId = newId();
    return envelope("waybill/bench", message("user.deleted", userId, { version: 1, userId }), Date.now());
  });
}

/** Splits a list. */
export function inParts<T>(list: readonly T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < list.length; at += size) parts.push(list.slice(at, at + size));
  return parts;
}
