import { Agent } from "node:http";
import { against } from "../lib/against.ts";
import { startBaselineServer } from "../lib/baseline.ts";
import { drive, send } from "../lib/load.ts";
import type { Row } from "../lib/report.ts";
import { onStage, type Stage } from "../lib/stage.ts";
import { oneLife } from "./order-life.ts";

const CUSTOMERS = 16;
const CONNECTIONS = 64;
const COUNTED_READS = 5_000;
const SIZES = { partners: 1, products: 20, customers: CUSTOMERS };

/**
 * Reads of a user's own data, which no cache answers: their CPU time beside that of a hello of node:http. Each customer reads
 * their own row.
 */
export const ownReads = (): Promise<Row[]> => onStage(SIZES, measure);

async function measure({ platform, world, database }: Stage): Promise<Row[]> {
  const agent = new Agent();
  const headersOf = (token: string) => ({ authorization: `Bearer ${token}` });
  const customers: { headers: Record<string, string>; orderId: string }[] = [];
  for (const [n, token] of world.customerTokens.entries()) {
    await oneLife(platform, world, n, agent);
    const headers = headersOf(token);
    const list = await send(agent, `${platform.apiUrl}/orders?limit=1`, { headers });
    const { items } = JSON.parse(list.body.toString()) as { items: [{ id: string }] };
    customers.push({ headers, orderId: items[0].id });
  }
  const { headers } = customers[0] as (typeof customers)[number];
  const server = await startBaselineServer(import.meta.filename);
  const hello = { headers, status: 200, pid: server.pid, url: `${server.url}/hello` };
  try {
    const rows: Row[] = [];
    for (const [what, pathFor] of [
      ["GET /me", () => "/me"],
      ["GET /orders/{id}", (orderId: string) => `/orders/${orderId}`],
    ] as const) {
      const each = customers.map(({ headers, orderId }) => ({
        url: platform.apiUrl + pathFor(orderId),
        headers,
      }));
      const ours = { headers, status: 200, pid: platform.pid, url: platform.apiUrl, each };
      rows.push(...(await against(`${what} beside a hello`, ours, hello)));
      const before = database.cpuMicros();
      await drive(CONNECTIONS, { units: COUNTED_READS }, async (client, agent) => {
        const { url, headers } = each[client % each.length] as (typeof each)[number];
        await send(agent, url, { headers });
      });
      const used = (database.cpuMicros() - before) / COUNTED_READS;
      rows.push({ what: "the same, CPU us of PostgreSQL beside", measured: used });
    }
    return rows;
  } finally {
    server.stop();
  }
}
