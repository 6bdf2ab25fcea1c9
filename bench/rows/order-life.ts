import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import type { Agent } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { BenchDatabase } from "../lib/database.ts";
import { drive, type Measured, median, send } from "../lib/load.ts";
import type { RunningPlatform } from "../lib/platform.ts";
import { cpuMicros } from "../lib/process.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";
import type { World } from "../lib/world.ts";

const CLIENTS = 16;
const SIZES = { partners: 50, products: 4, customers: CLIENTS };
const WARM_UP_LIVES = 1_000;
const ROUNDS = 3;
const ROUND_LIVES = 400;
const COUNTED_LIVES = 100;
const PGBENCH_SECONDS = 5;
/** PostgreSQL reports a backend's statistics at most once a second. */
const STATISTICS_DELAY_MS = 1_500;
const PGBENCH = join(import.meta.dirname, "../pgbench");

interface Round {
  ours: Measured;
  /** CPU time per life in microseconds, until all consequences are done. */
  node: number;
  postgres: number;
  theirs: Reference | undefined;
}

interface Reference {
  perSecond: number;
  meanMs: number;
  /** CPU time of PostgreSQL per life in microseconds. */
  cpu: number;
}

/** Check, confirm and the bank's callback with all that follows from them, against the same durable work as SQL alone. */
export const orderLife = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ platform, world, peers, database }: Stage): Promise<Row[]> {
  const reference = pgbench(database);
  const life = (client: number, agent: Agent) => oneLife(platform, world, client, agent);
  const lives = async (count: number) => {
    const measured = await drive(CLIENTS, { units: count }, life);
    if (measured.errors > 0) throw new Error(`${measured.errors} order lives failed`);
    await database.drained();
    return measured;
  };
  await drive(CLIENTS, { units: WARM_UP_LIVES }, life); // a process that has just started may refuse some
  await database.drained();
  const mails = await peers.mails();
  const peersBefore = peers.cpuMicros();
  const rounds: Round[] = [];
  for (let n = 0; n < ROUNDS; n++) {
    const before = { node: cpuMicros(platform.pid), postgres: database.cpuMicros() };
    const ours = await lives(ROUND_LIVES);
    const node = (cpuMicros(platform.pid) - before.node) / ROUND_LIVES;
    const postgres = (database.cpuMicros() - before.postgres) / ROUND_LIVES;
    rounds.push({ ours, node, postgres, theirs: reference?.() });
  }
  const sent = (await peers.mails()) - mails;
  const outside = peers.cpuMicros();
  const perLife = (micros: number) => micros / (ROUNDS * ROUND_LIVES);
  const counted = await count(database, () => lives(COUNTED_LIVES));
  const of = (pick: (round: Round) => number) => median(rounds.map(pick));
  const against = (ours: (round: Round) => number, theirs: (reference: Reference) => number) => ({
    measured: of(ours),
    ...(reference && {
      baseline: of((round) => theirs(round.theirs as Reference)),
      ratio: of((round) => ours(round) / theirs(round.theirs as Reference)),
    }),
  });
  const cpu = ({ node, postgres }: Round) => node + postgres;
  const rate = ({ ours }: Round) => ours.perSecond;
  return [
    { what: "order life, CPU us, drained", ...against(cpu, (theirs) => theirs.cpu) },
    { what: "order life, CPU us of Node", measured: of(({ node }) => node) },
    { what: "order life, CPU us of PostgreSQL", measured: of(({ postgres }) => postgres) },
    { what: "order life, lives/s", ...against(rate, (theirs) => theirs.perSecond) },
    {
      what: "the same, mean ms",
      ...against(
        (round) => (CLIENTS / rate(round)) * 1000,
        (theirs) => theirs.meanMs,
      ),
    },
    { what: "the same, p99 in ms", measured: of(({ ours }) => ours.p99Ms) },
    { what: "order life, statements", measured: counted.statements },
    { what: "order life, transactions", measured: counted.transactions },
    { what: "order life, write-ahead log, KB", measured: counted.walBytes / 1024 },
    { what: "order life, mails", measured: sent / (ROUNDS * ROUND_LIVES) },
    { what: "order life, CPU us of the bank", measured: perLife(outside.bank - peersBefore.bank) },
    {
      what: "order life, CPU us of the partner's system",
      measured: perLife(outside.partners - peersBefore.partners),
    },
    { what: "order life, CPU us of the mail server", measured: perLife(outside.mail - peersBefore.mail) },
  ];
}

/** The statements of one life, counted in a separate round because PostgreSQL's log costs CPU time. */
async function count(database: BenchDatabase, work: () => Promise<unknown>) {
  await delay(STATISTICS_DELAY_MS);
  const before = await database.totals();
  await database.logStatements(true);
  const offset = database.logLength();
  await work();
  const statements = database.loggedSince(offset).filter((sql) => !/^(?:BEGIN|COMMIT|ROLLBACK)/i.test(sql));
  await database.logStatements(false);
  await delay(STATISTICS_DELAY_MS);
  const after = await database.totals();
  if (process.env.BENCH_STATEMENTS) reportStatements(statements);
  return {
    statements: statements.length / COUNTED_LIVES,
    transactions: (after.transactions - before.transactions) / COUNTED_LIVES,
    walBytes: (after.walBytes - before.walBytes) / COUNTED_LIVES,
  };
}

/** With `BENCH_STATEMENTS=1`: the number of times that each statement was sent per life. */
function reportStatements(statements: string[]): void {
  const counts = [...Map.groupBy(statements, (sql) => sql.slice(0, 160))];
  counts.sort(([, a], [, b]) => b.length - a.length);
  for (const [sql, sent] of counts) {
    process.stderr.write(`${(sent.length / COUNTED_LIVES).toFixed(2).padStart(6)} ${sql}\n`);
  }
}

export async function oneLife(
  platform: RunningPlatform,
  world: World,
  client: number,
  agent: Agent,
): Promise<void> {
  const headers = {
    authorization: `Bearer ${world.customerTokens[client % world.customerTokens.length]}`,
    "content-type": "application/json",
  };
  const check = await post(agent, `${platform.apiUrl}/orders/check`, headers, world.cart());
  const confirmed = await post(
    agent,
    `${platform.apiUrl}/orders/confirm`,
    { ...headers, "idempotency-key": randomUUID() },
    JSON.stringify({ check_id: check.check_id, bank_id: world.bankId }),
  );
  const { amount_minor: totalMinor } = check.total as { amount_minor: number };
  const callback = world.paymentCallback(confirmed.order_id as string, totalMinor);
  await post(agent, `${platform.apiUrl}/webhooks/payments/${world.bankId}`, callback.headers, callback.body);
}

async function post(agent: Agent, url: string, headers: Record<string, string>, body: string) {
  const answer = await send(agent, url, { method: "POST", headers, body });
  if (answer.status >= 300) throw new Error(`${url}: ${answer.status} ${answer.body}`);
  return answer.body.length > 0 ? (JSON.parse(answer.body.toString()) as Record<string, unknown>) : {};
}

/** One round of pgbench on a database of its own beside ours; undefined where the machine has no pgbench. */
function pgbench(database: BenchDatabase): (() => Reference) | undefined {
  try {
    execFileSync("pgbench", ["--version"], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  const url = database.urlOf("postgres");
  const schema = [url, "-q", "-v", "ON_ERROR_STOP=1", "-f", join(PGBENCH, "schema.sql")];
  execFileSync("psql", schema, { stdio: ["ignore", "ignore", "ignore"] });
  const script = join(PGBENCH, "life.sql");
  const args = ["-n", "-c", String(CLIENTS), "-j", "1", "-T", String(PGBENCH_SECONDS), "-f", script, url];
  return () => {
    const before = database.cpuMicros();
    const text = execFileSync("pgbench", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    const perSecond = Number(/^tps = ([\d.]+)/m.exec(text)?.[1]);
    const meanMs = Number(/^latency average = ([\d.]+) ms/m.exec(text)?.[1]);
    const done = Number(/^number of transactions actually processed: (\d+)/m.exec(text)?.[1]);
    return { perSecond, meanMs, cpu: (database.cpuMicros() - before) / done };
  };
}
