import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { acceptMessages } from "../../mixins/consumer/inbox.repository.ts";
import { judge } from "../../mixins/consumer/judge.ts";
import { INBOX_RETENTION_MS } from "../../mixins/messages/retention.ts";
import { rows } from "../../mixins/postgres/database.ts";
import { eventually } from "../support/eventually.ts";
import { GROUP, incoming, type MessagingBench, messagingBench, userDeleted } from "../support/messaging.ts";
import { runFolder } from "../support/test-run.ts";

const PROGRAM = join(import.meta.dirname, "..", "support", "poisoned.ts");
const REPLICAS = 2;
/** A second is promised; another is for a machine that runs other tests beside this one. */
const OTHERS_MS = 2_000;
/** As in the product in the long form. */
const LEASE_MS = process.env.NIGHTLY ? 10_000 : 600;
const TIMEOUT_MS = 120_000;

let bench: MessagingBench;
beforeAll(async () => {
  bench = await messagingBench();
  await bench.db.db.raw("ALTER TABLE ledger ADD COLUMN at timestamptz NOT NULL DEFAULT clock_timestamp()");
});
afterAll(() => bench.stop());

/** Replicas that are started again whenever they end, as an orchestrator does. */
function replicas(env: Record<string, string>) {
  const running = new Set<ChildProcess>();
  let stopped = false;
  let ends = 0;
  const started = Promise.withResolvers<void>();
  /** When how many of them worked. */
  const up: { atMs: number; count: number }[] = [];
  const note = (change: 1 | -1) => up.push({ atMs: Date.now(), count: (up.at(-1)?.count ?? 0) + change });
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
      child.once("exit", () => note(-1));
      started.resolve();
    });
    child.once("exit", (code) => {
      running.delete(child);
      if (stopped) return;
      if (code === 1) ends += 1;
      start();
    });
  };
  for (let n = 0; n < REPLICAS; n += 1) start();
  return {
    started: started.promise,
    ends: () => ends,
    /** How long none of them worked between two moments. */
    downMs: (fromMs: number, untilMs: number) =>
      up.reduce((sum, { atMs, count }, index) => {
        const nextMs = up[index + 1]?.atMs ?? untilMs;
        return count > 0 ? sum : sum + Math.max(0, Math.min(nextMs, untilMs) - Math.max(atMs, fromMs));
      }, 0),
    async stop() {
      stopped = true;
      const ended = [...running].map((child) => new Promise((resolve) => child.once("exit", resolve)));
      for (const child of running) child.kill("SIGKILL");
      await Promise.all(ended);
    },
  };
}

describe("a message that ends the process that handles it", () => {
  it(
    "is a dead letter after five deliveries, and what others say has its effect within a second of any process that is there",
    async () => {
      const { db } = bench.db;
      const accept = async (...messages: ReturnType<typeof incoming>[]) => {
        const judged = messages.map((message) => judge(message, Date.now(), INBOX_RETENTION_MS));
        await acceptMessages(db, GROUP, judged);
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
      await eventually(
        async () => {
          const other = incoming(userDeleted());
          others.push(other.id);
          await accept(other);
          expect(await dead()).toHaveLength(1);
        },
        { timeoutMs: TIMEOUT_MS },
      );
      const untouched = await eventually(async () => {
        const found = await rows<{ id: string; from: number; until: number; attempts: number }>(
          db,
          `SELECT i.message_id AS id, i.attempts, extract(epoch FROM i.created_at)::float * 1000 AS from,
             extract(epoch FROM l.at)::float * 1000 AS until
           FROM inbox i JOIN ledger l ON l.message_id = i.message_id`,
        );
        expect(new Set(found.map(({ id }) => id))).toEqual(new Set(others));
        expect(found).toHaveLength(others.length);
        return found.filter(({ attempts }) => attempts === 1);
      });
      await nodes.stop();
      expect(await dead()).toEqual([
        { messageId: poison.id, attempts: 5, error: "the process ended during its delivery" },
      ]);
      expect(nodes.ends()).toBe(5);
      // What a dying process had taken along waits for its lease, and all wait while no process is there: nobody
      // waits longer because of the poison.
      expect(untouched.length).toBeGreaterThan(5);
      const waited = untouched.map(({ from, until }) => until - from - nodes.downMs(from, until));
      expect(Math.max(...waited)).toBeLessThan(OTHERS_MS);
    },
    TIMEOUT_MS,
  );
});
