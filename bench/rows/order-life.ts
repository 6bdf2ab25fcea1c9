import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import type { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { bareRows } from "../lib/bare-rows.ts";
import type { BenchDatabase } from "../lib/database.ts";
import { drive, drivePaced, type Measured, median, percentile, send } from "../lib/load.ts";
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
const LIGHT_LOAD = 0.7;
const LIGHT_MS = 10_000;
/**
 * The faster of two peers, measured apart on the same machine with pgbench beside it: Vendure 3.7 made 8.9 orders/s, and
 * pgbench 4,456 lives/s.
 */
const BEST_PEER = { perSecond: 8.9, pgbenchPerSecond: 4_456 };
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
  p99Ms: number;
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
  const light = await atLightLoad(rounds, life, reference);
  await database.drained();
  const bare = await bareRows(database, COUNTED_LIVES, () => lives(COUNTED_LIVES));
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
    {
      what: "the same, p99 in ms",
      ...against(
        ({ ours }) => ours.p99Ms,
        (theirs) => theirs.p99Ms,
      ),
    },
    { what: "the same, p99 in ms, at 70 % of the rate", ...light },
    ...againstPeer(rounds),
    {
      what: "order life, CPU us, against its rows in batches",
      measured: of(cpu),
      baseline: bare,
      ratio: of(cpu) / bare,
    },
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

/** The p99 of both at the same share of their own rates, where no request waits for others. */
async function atLightLoad(
  rounds: readonly Round[],
  life: (client: number, agent: Agent) => Promise<void>,
  reference: Pgbench | undefined,
): Promise<Pick<Row, "measured" | "baseline" | "ratio">> {
  const rateOf = (rates: number[]) => LIGHT_LOAD * median(rates);
  const ours = await drivePaced(rateOf(rounds.map((one) => one.ours.perSecond)), LIGHT_MS, life);
  if (ours.errors > 0) throw new Error(`${ours.errors} order lives failed`);
  if (!reference) return { measured: ours.p99Ms };
  const theirs = reference(rateOf(rounds.map(({ theirs }) => theirs?.perSecond ?? 0)));
  return { measured: ours.p99Ms, baseline: theirs.p99Ms, ratio: ours.p99Ms / theirs.p99Ms };
}

/** Orders a second beside those of the best peer, each as a share of the lives of pgbench in its own run. */
function againstPeer(rounds: readonly Round[]): Row[] {
  const theirs = BEST_PEER.perSecond / BEST_PEER.pgbenchPerSecond;
  const shares = rounds.flatMap(({ ours, theirs: bench }) =>
    bench ? [ours.perSecond / bench.perSecond] : [],
  );
  if (shares.length === 0) return [];
  const measured = median(shares);
  return [
    {
      what: "orders/s per 1,000 of pgbench, against Vendure",
      measured: measured * 1_000,
      baseline: theirs * 1_000,
      ratio: measured / theirs,
    },
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

export type Send = typeof send;

/** One life whose answers must all be successful. */
export function oneLife(
  platform: Pick<RunningPlatform, "apiUrl">,
  world: World,
  client: number,
  agent: Agent,
): Promise<void> {
  return stepsOfLife(platform, world, client, agent, async (agent, url, options) => {
    const answer = await send(agent, url, options);
    if (answer.status >= 300) throw new Error(`${url}: ${answer.status} ${answer.body}`);
    return answer;
  });
}

/** Check, confirm and the bank's callback. @param request sends a request and throws for an answer that ends the life */
export async function stepsOfLife(
  { apiUrl }: Pick<RunningPlatform, "apiUrl">,
  world: World,
  client: number,
  agent: Agent,
  request: Send,
): Promise<void> {
  const post = async (path: string, headers: Record<string, string>, body: string) => {
    const answer = await request(agent, apiUrl + path, { method: "POST", headers, body });
    return answer.body.length > 0 ? (JSON.parse(answer.body.toString()) as Record<string, unknown>) : {};
  };
  const headers = {
    authorization: `Bearer ${world.customerTokens[client % world.customerTokens.length]}`,
    "content-type": "application/json",
  };
  const check = await post("/orders/check", headers, world.cart());
  const confirmed = await post(
    "/orders/confirm",
    { ...headers, "idempotency-key": randomUUID() },
    JSON.stringify({ check_id: check.check_id, bank_id: world.bankId }),
  );
  const { amount_minor: totalMinor } = check.total as { amount_minor: number };
  const callback = world.paymentCallback(confirmed.order_id as string, totalMinor);
  await post(`/webhooks/payments/${world.bankId}`, callback.headers, callback.body);
}

/** @param rate lives per second. Default: as many as possible */
type Pgbench = (rate?: number) => Reference;

/** One round of pgbench on a database of its own beside ours; undefined where the machine has no pgbench. */
function pgbench(database: BenchDatabase): Pgbench | undefined {
  try {
    execFileSync("pgbench", ["--version"], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  const url = database.urlOf("postgres");
  const schema = [url, "-q", "-v", "ON_ERROR_STOP=1", "-f", join(PGBENCH, "schema.sql")];
  execFileSync("psql", schema, { stdio: ["ignore", "ignore", "ignore"] });
  const script = join(PGBENCH, "life.sql");
  const args = ["-n", "-l", "-c", String(CLIENTS), "-j", "1", "-T", String(PGBENCH_SECONDS), "-f", script];
  return (rate) => {
    const before = database.cpuMicros();
    const paced = rate === undefined ? [] : ["-R", String(rate)];
    const cwd = mkdtempSync(join(tmpdir(), "waybill-pgbench-")); // it writes its log of latencies there
    const text = execFileSync("pgbench", [...args, ...paced, url], {
      ...{ cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
    });
    const latenciesMs = latenciesIn(cwd);
    rmSync(cwd, { recursive: true });
    const perSecond = Number(/^tps = ([\d.]+)/m.exec(text)?.[1]);
    const meanMs = Number(/^latency average = ([\d.]+) ms/m.exec(text)?.[1]);
    const done = Number(/^number of transactions actually processed: (\d+)/m.exec(text)?.[1]);
    const p99Ms = percentile(latenciesMs, 0.99);
    return { perSecond, meanMs, p99Ms, cpu: (database.cpuMicros() - before) / done };
  };
}

/** The latencies in the logs of pgbench, sorted: the third column is the time of a life in microseconds. */
function latenciesIn(folder: string): number[] {
  const lines = readdirSync(folder).flatMap((file) =>
    readFileSync(join(folder, file), "utf8").trim().split("\n"),
  );
  return lines.map((line) => Number(line.split(" ")[2]) / 1000).sort((a, b) => a - b);
}
