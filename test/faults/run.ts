import { setTimeout as delay } from "node:timers/promises";
import { newId } from "../../lib/ids.ts";
import { Random } from "../simulation/random.ts";
import { query } from "../support/sql.ts";
import { onTheWay } from "./arrivals.ts";
import { type Books, readBooks, whatMoves } from "./books.ts";
import { databases, type FaultCluster, type MemberName } from "./cluster.ts";
import { judge } from "./invariants.ts";
import { type Ledger, newLedger, percentile } from "./ledger.ts";
import { makeWorld, STOCK, type World } from "./world.ts";

const QUIET_TIMEOUT_MS = 180_000;
const QUIET_POLL_MS = 250;
const UP_POLL_MS = 100;
const SHOWN = 8;
const READS_MAX = 5;
const CLOSED_AT_ONCE = 8;

/** How much is done: the short form of every commit, or the long one of a night. */
export interface Scale {
  name: "short" | "nightly" | "scaled";
  events: number;
  kills: number;
  restarts: number;
  requestsPerSecond: number;
  /** How long each toxic is in the way. */
  toxicMs: number;
  concurrency: number;
}

/** The result of a scenario. */
export interface Outcome {
  promise: string;
  title: string;
  figures: Record<string, string | number>;
  /** Violations that no time limit excuses: lost, duplicated or wrong data, and crashes. */
  problems: string[];
  /** Correct results that came after the promised time. */
  late: string[];
}

/** The word for an outcome. LATE: the results are correct and came after the promised time. */
export function resultOf({ problems, late }: Outcome): "kept" | "LATE" | "BROKEN" {
  if (problems.length > 0) return "BROKEN";
  return late.length > 0 ? "LATE" : "kept";
}

/** One cluster with its world, and everything that is known of it so far. */
export interface Run {
  seed: number;
  scale: Scale;
  cluster: FaultCluster;
  world: World;
  ledger: Ledger;
  random: Random;
  say(line: string): void;
  /** Deaths since the start, by whom: `random` and by failpoint. */
  deaths: { name: MemberName; how: string }[];
}

export async function openRun(
  seed: number,
  scale: Scale,
  cluster: FaultCluster,
  say: Run["say"],
): Promise<Run> {
  const ledger = newLedger();
  const world = await makeWorld(cluster, ledger);
  const run: Run = { seed, scale, cluster, world, ledger, say, random: new Random(seed), deaths: [] };
  watchDeaths(run);
  return run;
}

/** Restarts killed processes, as a container runtime does. A process that exits by itself is a problem. */
function watchDeaths(run: Run): void {
  run.cluster.onDeath = (name, signal, code) => {
    run.deaths.push({ name, how: signal === "SIGKILL" ? "failpoint" : `exit ${code ?? signal}` });
    void run.cluster.members[name].start().catch((error: Error) => run.say(`${name}: ${error.message}`));
  };
}

/** The last wait, and its duration. */
export interface Drain {
  ms: number;
  /** The unfinished work at the last check before the queues were empty or the wait ended. */
  last: Record<string, string>;
}

/**
 * The entries of all queues, and the messages that were passed to the message bus and are not in their inbox yet. If a
 * receiver was killed, the message bus delivers them again after its acknowledgement timeout.
 */
async function stillMoving(url: Run["cluster"]["url"]): Promise<Record<string, string>> {
  const moving = await whatMoves(url);
  if (Object.keys(moving).length > 0) return moving;
  const away = await Promise.all(
    databases.map(async (name) => [`on the way to ${name}`, await onTheWay(url, name)] as const),
  );
  return Object.fromEntries(away.filter(([, count]) => count > 0).map(([what, count]) => [what, `${count}`]));
}

/** Waits until every queue is empty, and nothing is on its way from one to another. */
export async function quiet(run: Run, timeoutMs = QUIET_TIMEOUT_MS): Promise<Drain> {
  const sinceMs = performance.now();
  let last: Record<string, string> = {};
  for (;;) {
    const moving = await stillMoving(run.cluster.url).catch(() => ({ database: "away" }));
    const ms = Math.round(performance.now() - sinceMs);
    const isQuiet = Object.keys(moving).length === 0;
    if (!isQuiet) last = moving;
    if (isQuiet || ms > timeoutMs) return { ms, last };
    await delay(QUIET_POLL_MS);
  }
}

/**
 * The books, none of which moved while they were read one after the other. Where orders ran out of time meanwhile,
 * those that still can are closed before they are read again.
 */
async function booksAtRest(run: Run): Promise<Books> {
  const { url, documents } = run.cluster;
  for (let reads = 1; ; reads += 1) {
    const movesBefore = await countMoves(url);
    const books = await readBooks({ url, mongoUrl: documents.url });
    if ((await countMoves(url)) === movesBefore || reads === READS_MAX) return books;
    await closeOrders(run);
    await quiet(run);
  }
}

/** Tells one moment from the next: what the platform says of orders, people and partners; alerts are in no book. */
async function countMoves(url: Run["cluster"]["url"]): Promise<string> {
  const said = await Promise.all(
    databases.map((name) =>
      query<{ count: string }>(url(name), "SELECT count(*) FROM outbox WHERE type <> 'alert.raised'"),
    ),
  );
  return said.map(([row]) => row?.count).join(" ");
}

/** The operator cancels what nobody has paid or accepted: it would end by itself some time in the next half hour. */
async function closeOrders({ cluster, world, ledger }: Run): Promise<void> {
  const open = await query<{ id: string }>(
    cluster.url("orders"),
    "SELECT id FROM orders WHERE status IN ('pending', 'paid')",
  );
  const close = async () => {
    for (let next = open.pop(); next; next = open.pop()) {
      const token = await world.tokenOf(world.operator);
      const sending = { token, key: newId(), body: { reason: "closing time" } };
      const { status } = await world.client.settle(`POST /orders/${next.id}/cancel`, sending);
      if (status === 200) ledger.done.push({ orderId: next.id, what: "cancel" });
    }
  };
  await Promise.all(Array.from({ length: CLOSED_AT_ONCE }, close));
}

/** Compares everything with everything. @returns what is wrong, a line each */
export async function compare(run: Run): Promise<string[]> {
  const { world, ledger } = run;
  const books = await booksAtRest(run);
  const stockBefore = new Map(
    world.kitchens.flatMap(({ products }) => products.map((id) => [id, STOCK] as const)),
  );
  return judge({ ledger, books, bank: world.bank, stockBefore }).flatMap(({ promise, problems }) => [
    ...problems.slice(0, SHOWN).map((problem) => `${promise}: ${problem}`),
    ...(problems.length > SHOWN ? [`${promise}: and ${problems.length - SHOWN} more`] : []),
  ]);
}

/**
 * From a commit in orders to the beginning of its handler in partners, over all messages about moves of orders since,
 * in milliseconds. PostgreSQL itself says when the transaction of a move had committed; the handler's moment is the
 * begin of its transaction.
 */
export async function deliveryTimes(run: Run, sinceIso: string): Promise<number[]> {
  const { url } = run.cluster;
  const said = await query<{ id: string; ms: number }>(
    url("orders"),
    `SELECT outbox.id, extract(epoch FROM pg_xact_commit_timestamp(moves.xmin))::float * 1000 AS ms
     FROM outbox JOIN order_transitions AS moves
       ON moves.order_id::text = subject AND moves.version = (data ->> 'version')::integer
     WHERE outbox.created_at > $1`,
    [sinceIso],
  );
  const saidMs = new Map(said.map(({ id, ms }) => [id, ms]));
  const heard = await query<{ id: string; ms: number }>(
    url("partners"),
    `SELECT message_id AS id, extract(epoch FROM updated_at)::float * 1000 AS ms
     FROM inbox WHERE state = 'done' AND created_at > $1`,
    [sinceIso],
  );
  return heard.flatMap(({ id, ms }) => {
    const from = saidMs.get(id);
    return from === undefined ? [] : [ms - from];
  });
}

/** The answers since the ledger's last reset, as figures. */
export function answerFigures({ answers }: Ledger): Record<string, string | number> {
  const byStatus = [...answers.byStatus]
    .sort(([a], [b]) => a - b)
    .map(([status, count]) => `${status || "none"}: ${count}`);
  return {
    answers: byStatus.join(", "),
    "p50 ms": percentile(answers.times, 0.5),
    "p99 ms": percentile(answers.times, 0.99),
  };
}

export async function untilUp(run: Run): Promise<void> {
  while (!Object.values(run.cluster.members).every((one) => one.isUp)) await delay(UP_POLL_MS);
}
