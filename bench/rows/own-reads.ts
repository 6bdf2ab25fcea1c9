import { Agent } from "node:http";
import { against } from "../lib/against.ts";
import { startBaselineServer } from "../lib/baseline.ts";
import { send } from "../lib/load.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";
import { oneLife } from "./order-life.ts";

const SIZES = { partners: 1, products: 20, customers: 1 };

/** Reads of a user's own data, which no cache answers: their CPU time beside that of a hello of node:http. */
export const ownReads = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ platform, world }: Stage): Promise<Row[]> {
  const agent = new Agent();
  await oneLife(platform, world, 0, agent);
  const request = { headers: { authorization: `Bearer ${world.customerTokens[0]}` }, status: 200 };
  const list = await send(agent, `${platform.apiUrl}/orders?limit=1`, request);
  const { items } = JSON.parse(list.body.toString()) as { items: [{ id: string }] };
  const server = await startBaselineServer(import.meta.filename);
  const hello = { ...request, pid: server.pid, url: `${server.url}/hello` };
  try {
    const rows: Row[] = [];
    for (const [what, path] of [
      ["GET /me", "/me"],
      ["GET /orders/{id}", `/orders/${items[0].id}`],
    ] as const) {
      const ours = { ...request, pid: platform.pid, url: platform.apiUrl + path };
      rows.push(...(await against(`${what} beside a hello`, ours, hello)));
    }
    return rows;
  } finally {
    server.stop();
  }
}
