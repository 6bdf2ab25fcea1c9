import { setTimeout as delay } from "node:timers/promises";
import { query } from "../support/sql.ts";
import { type Database, databases } from "./cluster.ts";

const POLL_MS = 250;

type Url = (database: Database) => string;

/** Ids of messages, by the service whose inbox takes their types; inboxes are named as databases are. */
export type Due = Map<Database, Set<string>>;

/** All messages that the outboxes hold until a moment, for each inbox that takes their type. */
export async function saidUntil(url: Url, moment: Date): Promise<Due> {
  return await dueOf(url, "created_at <= $1", [moment]);
}

/** The number of messages that were passed to the message bus and are not in the inbox of this service yet. */
export async function onTheWay(url: Url, service: Database): Promise<number> {
  const handed = (await dueOf(url, "sent_at IS NOT NULL", [])).get(service) ?? new Set();
  const there = await query<{ id: string }>(
    url(service),
    "SELECT message_id AS id FROM inbox WHERE consumer = $1",
    [service],
  );
  for (const { id } of there) handed.delete(id);
  return handed.size;
}

async function dueOf(url: Url, where: string, values: unknown[]): Promise<Due> {
  const said = await Promise.all(
    databases.map((database) =>
      query<{ id: string; type: string }>(
        url(database),
        `SELECT id, type FROM outbox WHERE ${where}`,
        values,
      ),
    ),
  );
  const due: Due = new Map();
  for (const service of databases) {
    const taken = await query<{ type: string }>(
      url(service),
      "SELECT DISTINCT type FROM inbox WHERE consumer = $1",
      [service],
    );
    const types = new Set(taken.map(({ type }) => type));
    due.set(service, new Set(said.flat().flatMap(({ id, type }) => (types.has(type) ? [id] : []))));
  }
  return due;
}

/** Strikes out what has been handled. @returns how many are left */
export async function strikeHandled(url: Url, due: Due): Promise<number> {
  for (const [service, ids] of due) {
    if (ids.size === 0) continue;
    const handled = await query<{ id: string }>(
      url(service),
      `SELECT message_id AS id FROM inbox
       WHERE consumer = $1 AND state <> 'waiting' AND message_id = ANY ($2::uuid[])`,
      [service, [...ids]],
    );
    for (const { id } of handled) ids.delete(id);
  }
  return [...due.values()].reduce((all, { size }) => all + size, 0);
}

/** Waits until all of it has been handled, which strikes it out, or the time is over. */
export async function untilHandled(url: Url, due: Due, timeoutMs: number): Promise<void> {
  const untilMs = performance.now() + timeoutMs;
  while ((await strikeHandled(url, due)) > 0 && performance.now() < untilMs) await delay(POLL_MS);
}

/** The remaining messages by type, with their attempts and the time of the next one; empty when none is left. */
export async function leftOf(url: Url, due: Due): Promise<string[]> {
  const left: string[] = [];
  for (const [service, ids] of due) {
    const waiting = await query<{ id: string; line: string }>(
      url(service),
      `SELECT message_id AS id, type || ', tries ' || attempts || ', due in '
         || round(extract(epoch FROM next_at - now())) || ' s' AS line
       FROM inbox WHERE consumer = $1 AND message_id = ANY ($2::uuid[])`,
      [service, [...ids]],
    );
    const lines = Map.groupBy(waiting, ({ line }) => line);
    left.push(...[...lines].map(([line, { length }]) => `${length} in the inbox of ${service}: ${line}`));
    if (waiting.length < ids.size) left.push(`${ids.size - waiting.length} not yet with ${service}`);
  }
  return left;
}
