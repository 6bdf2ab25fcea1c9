import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Agent } from "node:http";
import { join } from "node:path";
import { drive, type Measured, median, send } from "../lib/load.ts";
import type { RunningPlatform } from "../lib/platform.ts";
import { childrenMicros, cpuMicros } from "../lib/process.ts";
import type { Row } from "../lib/report.ts";
import type { World } from "../lib/world.ts";

const CLIENTS = 16;
const ROUNDS = 3;
const ROUND_MS = 6_000;
const PGBENCH = join(import.meta.dirname, "../pgbench");

/** Check, confirm and the bank's callback, against the same durable work written as SQL alone. */
export async function orderLife(
  platform: RunningPlatform,
  world: World,
  databaseUrl: string,
): Promise<Row[]> {
  const reference = pgbench(databaseUrl);
  const life = (client: number, agent: Agent) => oneLife(platform, world, client, agent);
  await drive(CLIENTS, 1_500, life);
  const postmaster = Number.parseInt(
    readFileSync(join(platform.dataDir, "postgres/postmaster.pid"), "utf8"),
    10,
  );
  const rounds: { ours: Measured; node: number; postgres: number; theirs?: Reference }[] = [];
  for (let n = 0; n < ROUNDS; n++) {
    const before = { node: cpuMicros(platform.pid), postgres: childrenMicros(postmaster) };
    const ours = await drive(CLIENTS, ROUND_MS, life);
    if (ours.errors > 0) throw new Error(`${ours.errors} order lives failed`);
    const lives = ours.perSecond * (ROUND_MS / 1000);
    const node = (cpuMicros(platform.pid) - before.node) / lives;
    const postgres = (childrenMicros(postmaster) - before.postgres) / lives;
    rounds.push({ ours, node, postgres, ...(reference && { theirs: reference() }) });
  }
  const of = (pick: (one: (typeof rounds)[number]) => number) => median(rounds.map(pick));
  const against = (ours: (one: (typeof rounds)[number]) => number, theirs: (r: Reference) => number) => ({
    measured: of(ours),
    ...(reference && {
      baseline: of((one) => theirs(one.theirs as Reference)),
      ratio: of((one) => ours(one) / theirs(one.theirs as Reference)),
    }),
  });
  return [
    {
      what: "order life, lives/s",
      ...against(
        ({ ours }) => ours.perSecond,
        (r) => r.perSecond,
      ),
    },
    {
      what: "the same, mean ms",
      ...against(
        ({ ours }) => (CLIENTS / ours.perSecond) * 1000,
        (r) => r.meanMs,
      ),
    },
    { what: "the same, p99 in ms", measured: of(({ ours }) => ours.p99Ms) },
    {
      what: "the same, CPU us a life: Node, PostgreSQL",
      measured: of(({ node }) => node),
      baseline: of(({ postgres }) => postgres),
      ratio: of(({ node, postgres }) => node / postgres),
    },
  ];
}

export async function oneLife(
  platform: RunningPlatform,
  world: World,
  client: number,
  agent: Agent,
): Promise<void> {
  const productId = world.productIds[Math.floor(Math.random() * world.productIds.length)] as string;
  const headers = {
    authorization: `Bearer ${world.customerTokens[client % world.customerTokens.length]}`,
    "content-type": "application/json",
  };
  const check = await post(agent, `${platform.apiUrl}/orders/check`, headers, world.cart(productId));
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

interface Reference {
  perSecond: number;
  meanMs: number;
}

/** One round of pgbench on a database of its own beside ours; undefined where the machine has no pgbench. */
function pgbench(databaseUrl: string): (() => Reference) | undefined {
  try {
    execFileSync("pgbench", ["--version"], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  const schema = [databaseUrl, "-q", "-v", "ON_ERROR_STOP=1", "-f", join(PGBENCH, "schema.sql")];
  execFileSync("psql", schema, { stdio: ["ignore", "ignore", "ignore"] });
  return () => {
    const seconds = String(ROUND_MS / 1000);
    const args = [
      "-n",
      "-c",
      String(CLIENTS),
      "-j",
      "1",
      "-T",
      seconds,
      "-f",
      join(PGBENCH, "life.sql"),
      databaseUrl,
    ];
    const text = execFileSync("pgbench", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    const perSecond = Number(/^tps = ([\d.]+)/m.exec(text)?.[1]);
    const meanMs = Number(/^latency average = ([\d.]+) ms/m.exec(text)?.[1]);
    return { perSecond, meanMs };
  };
}
