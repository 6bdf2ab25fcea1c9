import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { INBOX_RETENTION_MS } from "../../lib/messaging/retention.ts";
import { rows } from "../../lib/sql/database.ts";
import { acceptMessages } from "../../mixins/consumer/inbox.repository.ts";
import { parseMessage } from "../../mixins/consumer/parse-message.ts";
import { expectInTime } from "../support/consuming.ts";
import { eventually } from "../support/eventually.ts";
import { GROUP, incoming, type MessagingBench, messagingBench, userDeleted } from "../support/messaging.ts";
import { runFolder } from "../support/test-run.ts";
import { isTimed } from "../support/timed.ts";

const PROGRAM = join(import.meta.dirname, "..", "support", "poisoned.ts");
const REPLICAS = 2;
/** In the long form as in the product: longer than a start takes, so that one of the replicas is always there. */
const LONG_FORM = Boolean(process.env.NIGHTLY);
const LEASE_MS = LONG_FORM ? 10_000 : 600;

let bench: MessagingBench;
beforeAll(async () => {
  bench = await messagingBench();
  await bench.db.db.query("ALTER TABLE ledger ADD COLUMN at timestamptz NOT NULL DEFAULT clock_timestamp()");
});
afterAll(() => bench.stop());

/** A span of time, in ms since 1970. */
interface Span {
  from: number;
  until: number;
}

/** Replicas that are started again whenever they end, as an orchestrator does. */
function replicas(env: Record<string, string>) {
  const running = new Set<ChildProcess>();
  let stopped = false;
  const deaths: number[] = [];
  const started = Promise.withResolvers<void>();
  /** When how many of them worked. */
  const up: { atMs: number; count: number }[] = [];
  const note = (change: 1 | -1) => {
    up.push({ atMs: Date.now(), count: (up.at(-1)?.count ?? 0) + change });
    if (up.at(-1)?.count === REPLICAS) started.resolve();
  };
  const start = () => {
    const child = fork(PROGRAM, {
      execArgv: [],
      env: {
        PATH: process.env.PATH,
        NODE_COMPILE_CACHE: join(runFolder(), "compile-cache"),
        POSTGRES_URL: bench.database.url,
        ...env,
      },
    });
    running.add(child);
    child.once("message", () => {
      note(1);
      child.once("exit", () => stopped || note(-1));
    });
    child.once("exit", (code) => {
      running.delete(child);
      if (stopped) return;
      if (code === 1) deaths.push(Date.now());
      start();
    });
  };
  for (let n = 0; n < REPLICAS; n += 1) start();
  return {
    /** All of them work. */
    started: started.promise,
    /** When one of them ended of the poison. */
    deaths,
    /** When none of them worked. */
    down: (): Span[] =>
      up.flatMap(({ atMs, count }, index) =>
        count > 0 ? [] : [{ from: atMs, until: up[index + 1]?.atMs ?? Date.now() }],
      ),
    async stop() {
      stopped = true;
      const ended = [...running].map((child) => new Promise((resolve) => child.once("exit", resolve)));
      for (const child of running) child.kill("SIGKILL");
      await Promise.all(ended);
    },
  };
}

/** How much of a span none of the others covers. */
function uncoveredMs({ from, until }: Span, others: readonly Span[]): number {
  let at = from;
  let sum = 0;
  for (const other of [...others].sort((a, b) => a.from - b.from)) {
    sum += Math.max(0, Math.min(other.from, until) - at);
    at = Math.max(at, Math.min(other.until, until));
  }
  return sum + (until - at);
}

/**
 * Lets a message end whatever process meets it, others around it.
 * @returns the longest that one of those waited, each time it was due
 */
async function besidePoison(): Promise<number> {
  const { db } = bench.db;
  await db.query("TRUNCATE inbox, ledger");
  const accept = async (...messages: ReturnType<typeof incoming>[]) => {
    const judged = messages.map((message) => parseMessage(message, Date.now(), INBOX_RETENTION_MS));
    await acceptMessages(db, GROUP, judged, { token: newId(), leaseMs: 0 });
  };
  const poison = incoming(userDeleted());
  const nodes = replicas({ POISON: poison.subject, LEASE_MS: String(LEASE_MS) });
  await nodes.started;
  await accept(poison);
  const dead = async () =>
    rows<{ messageId: string; attempts: number; error: string }>(
      db,
      "SELECT message_id, attempts, error FROM inbox WHERE state = 'dead'",
    );
  const others: string[] = [];
  /** How many had their effect before the poison was a dead letter. */
  let besideCount = 0;
  await eventually(async () => {
    const other = incoming(userDeleted());
    others.push(other.id);
    await accept(other);
    besideCount = (await bench.ledger()).length;
    expect(await dead()).toHaveLength(1);
  });
  expect(besideCount).toBeGreaterThan(5);
  const effects = await eventually(async () => {
    const found = await rows<Span & { id: string; attempts: number }>(
      db,
      `SELECT i.message_id AS id, i.attempts, extract(epoch FROM i.created_at)::float * 1000 AS from,
         extract(epoch FROM l.at)::float * 1000 AS until
       FROM inbox i JOIN ledger l ON l.message_id = i.message_id`,
    );
    expect(new Set(found.map(({ id }) => id))).toEqual(new Set(others));
    expect(found).toHaveLength(others.length);
    return found;
  });
  await nodes.stop();
  expect(await dead()).toEqual([
    { messageId: poison.id, attempts: 5, error: "the process ended during its delivery" },
  ]);
  expect(nodes.deaths).toHaveLength(5);
  expect(effects.filter(({ attempts }) => attempts === 1).length).toBeGreaterThan(5);
  if (LONG_FORM) expect(nodes.down()).toEqual([]);
  // All wait while no process is there, and what a dying one had taken along waits for its lease before it is due
  // again; the poison message causes no other wait.
  const leases = nodes.deaths.map((atMs) => ({ from: atMs, until: atMs + LEASE_MS }));
  const waits = effects.map(({ attempts, ...span }) =>
    attempts === 1
      ? uncoveredMs(span, nodes.down())
      : uncoveredMs(span, [...nodes.down(), ...leases]) / attempts,
  );
  return Math.max(...waits);
}

describe("a message that ends the process of its handler", () => {
  it("is a dead letter after five deliveries, and others have their effects meanwhile", async () => {
    if (isTimed) await expectInTime(besidePoison);
    else await besidePoison();
  });
});
