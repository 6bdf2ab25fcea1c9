import { spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { derivedId } from "../../lib/ids.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { runFolder } from "../support/test-run.ts";

const PROGRAM = join(import.meta.dirname, "messages-process.ts");
const RUN_TIMEOUT_MS = 60_000;
const TEST_TIMEOUT_MS = 300_000;

let recorder: Server;
let recorded: string[] = [];
beforeAll(async () => {
  recorder = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (part) => {
      body += part;
    });
    request.on("end", () => {
      recorded.push(body);
      response.end();
    });
  });
  await new Promise<void>((resolve) => recorder.listen(0, "127.0.0.1", resolve));
});
afterAll(() => {
  recorder.close();
  recorder.closeAllConnections();
});

/** Two databases and the process on them. */
async function stage() {
  const [shop, kitchen] = await Promise.all([createDatabase("orders"), createDatabase("partners")]);
  await query(shop, "CREATE TABLE changes (subject uuid)");
  await query(kitchen, "CREATE TABLE ledger (message_id uuid, subject uuid, made_by text)");
  recorded = [];

  /** Runs the process until it ends or is killed by a failpoint; returns the cause of its end. */
  const run = async (env: Record<string, string>): Promise<string> => {
    const child = spawn(process.execPath, [PROGRAM], {
      env: {
        PATH: process.env.PATH,
        NODE_COMPILE_CACHE: join(runFolder(), "compile-cache"), // a third of the time of a start
        SHOP_URL: shop.url,
        KITCHEN_URL: kitchen.url,
        RECORDER_URL: `http://127.0.0.1:${(recorder.address() as AddressInfo).port}/`,
        ...env,
      },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let complaint = "";
    child.stderr.setEncoding("utf8").on("data", (part) => {
      complaint += part;
    });
    const timer = setTimeout(() => child.kill("SIGTERM"), RUN_TIMEOUT_MS);
    const end = await new Promise<string>((resolve) =>
      child.on("close", (code, signal) => resolve(signal ?? (code === 0 ? "done" : complaint))),
    );
    clearTimeout(timer);
    return end;
  };

  return {
    shop,
    kitchen,
    run,
    /** Ends the leases of keys, which are fifteen seconds long, and those of messages. */
    async passLeases() {
      await query(shop, "UPDATE idempotency_keys SET lease_until = now() WHERE answer IS NULL");
      await query(kitchen, "UPDATE inbox SET next_at = now() WHERE lease_token IS NOT NULL");
    },
    /** Violations found in the databases. All three lists must be empty. */
    async broken() {
      const changes = (await query(shop, "SELECT subject FROM changes")).map(({ subject }) => subject);
      const effects = (await query(kitchen, "SELECT subject FROM ledger")).map(({ subject }) => subject);
      return {
        doubled: [...repeated(changes), ...repeated(effects)],
        lost: changes.filter((subject) => !effects.includes(subject)),
        invented: effects.filter((subject) => !changes.includes(subject)),
      };
    },
    async stop() {
      await Promise.all([shop.drop(), kitchen.drop()]);
    },
  };
}

async function query(database: TestDatabase, sql: string): Promise<Record<string, string>[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

function repeated(values: (string | undefined)[]): (string | undefined)[] {
  return values.filter((value, index) => values.indexOf(value) !== index);
}

const KEPT = { doubled: [], lost: [], invented: [] };

describe("a process that is killed by SIGKILL", () => {
  it(
    "at any point between change, publication, effect and acknowledgement, loses and duplicates nothing",
    async () => {
      const { run, passLeases, broken, kitchen, stop } = await stage();
      // In the order of a message's way; the number is the visit that kills, so that others are on their way.
      const points = [
        ...["test.uncommitted:2", "idempotency.stored:3", "idempotency.claimed:4", "test.called:4"],
        ...["test.committed:9", "relay.claimed:3", "consumer.accepting:3", "consumer.accepted:3"],
        ...["relay.published:4", "relay.sent:4", "consumer.applied:5", "consumer.performed:6"],
        "consumer.committed:7",
      ];
      let count = 0;
      for (const point of points) {
        count += 6;
        const end = await run({ FAILPOINTS: point, COUNT: String(count), DELIVERIES: "50" });
        expect([point, end]).toEqual([point, "SIGKILL"]);
        expect(await broken()).toMatchObject({ doubled: [], invented: [] });
        await passLeases();
      }
      expect(await run({ COUNT: String(count), DELIVERIES: "50" })).toBe("done");
      expect(await broken()).toEqual(KEPT);

      const effects = await query(kitchen, "SELECT message_id, subject FROM ledger");
      expect(effects).toHaveLength(2 * count);
      // An external system may get an interrupted call twice, always under the same id, but never not at all.
      const opened = Array.from({ length: count }, (_, n) => derivedId("open", String(n)));
      const told = effects.filter(({ subject }) => opened.includes(subject as string));
      const heard = new Set(recorded);
      expect(heard).toEqual(new Set([...opened, ...told.map((effect) => effect.message_id)]));
      expect(recorded.length - heard.size).toBeLessThan(points.length * 10);
      await stop();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    "by one of its messages repeatedly, makes this one a dead letter after five deliveries, and no other",
    async () => {
      const { run, passLeases, broken, kitchen, stop } = await stage();
      const poison = derivedId("change", "3");
      const ends: string[] = [];
      while (ends.at(-1) !== "done" && ends.length < 10) {
        ends.push(await run({ FAILPOINTS: "test.poison", POISON: poison, COUNT: "6" }));
        await passLeases();
      }
      expect(ends).toEqual(["SIGKILL", "SIGKILL", "SIGKILL", "SIGKILL", "SIGKILL", "done"]);
      const dead = await query(kitchen, "SELECT subject, attempts, error FROM inbox WHERE state <> 'done'");
      expect(dead).toEqual([
        { subject: poison, attempts: 5, error: "the process ended during its delivery" },
      ]);
      expect(await broken()).toEqual({ ...KEPT, lost: [poison] });
      await stop();
    },
    TEST_TIMEOUT_MS,
  );
});

describe("the checker of these tests, with a planted fault", () => {
  it.each([
    ["early-ack", "relay.sent:2", "lost"],
    ["no-inbox", "relay.published:2", "doubled"],
  ] as const)(
    "%s, killed at %s, finds what was %s",
    async (FAULT, FAILPOINTS, finding) => {
      const { run, passLeases, broken, stop } = await stage();
      expect(await run({ FAULT, FAILPOINTS, COUNT: "4" })).toBe("SIGKILL");
      await passLeases();
      expect(await run({ FAULT, COUNT: "4" })).toBe("done");
      expect((await broken())[finding].length).toBeGreaterThan(0);
      await stop();
    },
    TEST_TIMEOUT_MS,
  );
});
