import type { Agent } from "node:http";
import { drive, send } from "../lib/load.ts";
import type { RunningPlatform } from "../lib/platform.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";
import type { World } from "../lib/world.ts";
import { oneLife } from "./order-life.ts";

const CLIENTS = 16;
const READERS = 2;
const SIZES = { partners: 1, products: 200, customers: CLIENTS };
const ROUND_MS = 15_000;
const WARM_UP_MS = 3_000;

/** Reads of the embedded document store, beside order lives at the rate that 16 clients reach, and by themselves. */
export const readsBesideLives = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ platform, world }: Stage): Promise<Row[]> {
  const life = (client: number, agent: Agent) => oneLife(platform, world, client, agent);
  await drive(CLIENTS, { ms: WARM_UP_MS }, life);
  const order = await anOrderOf(platform, world);
  const rows: Row[] = [];
  for (const [what, path] of [
    ["GET /me/notifications", "/me/notifications"],
    ["GET /orders/{id}/history", `/orders/${order}/history`],
  ] as const) {
    const read = (client: number, agent: Agent) => ok(platform, world, client, agent, path);
    const [beside, lives] = await Promise.all([
      drive(READERS, { ms: ROUND_MS }, read),
      drive(CLIENTS, { ms: ROUND_MS }, life),
    ]);
    const alone = await drive(READERS, { ms: ROUND_MS }, read);
    if (beside.errors + alone.errors + lives.errors > 0) throw new Error(`${what}: reads or lives failed`);
    rows.push({
      what: `${what} beside ${Math.round(lives.perSecond)} lives/s, p99 in ms, against alone`,
      measured: beside.p99Ms,
      baseline: alone.p99Ms,
      ratio: beside.p99Ms / alone.p99Ms,
    });
  }
  return rows;
}

async function anOrderOf(platform: RunningPlatform, world: World): Promise<string> {
  const answer = await fetch(`${platform.apiUrl}/orders?limit=1`, { headers: headersOf(world, 0) });
  const { items } = (await answer.json()) as { items: { id: string }[] };
  return (items[0] as { id: string }).id;
}

const headersOf = (world: World, client: number) => ({
  authorization: `Bearer ${world.customerTokens[client % world.customerTokens.length]}`,
});

async function ok(platform: RunningPlatform, world: World, client: number, agent: Agent, path: string) {
  // An order is read by its own customer, the first one; notifications by all customers.
  const reader = path.startsWith("/orders/") ? 0 : client;
  const answer = await send(agent, platform.apiUrl + path, { headers: headersOf(world, reader) });
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`);
}
