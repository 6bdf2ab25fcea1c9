import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Run } from "./run.ts";

/** How a partner's system answers: not at all, by a reset, with a status, or well. */
export type Mood = "hang" | "reset" | 500 | 410 | 429 | "well";

/** A partner's system with configured faults, which records the orders that it gets. */
export interface MoodySystem {
  url: string;
  mood: Mood;
  readonly calls: { webhookId: string; orderId: string }[];
  stop(): void;
}

export async function moodySystem(
  { ledger }: Pick<Run, "ledger">,
  partnerId: string,
  mood: Mood,
): Promise<MoodySystem> {
  const calls: MoodySystem["calls"] = [];
  const system: MoodySystem = {
    ...{ url: "", mood, calls },
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const { type, data } = JSON.parse(Buffer.concat(chunks).toString()) as {
        type: string;
        data: { order_id: string };
      };
      const webhookId = String(request.headers["webhook-id"]);
      const does = system.mood;
      const status = does === "well" ? 204 : typeof does === "number" ? does : 0;
      if (type === "order.paid") calls.push({ webhookId, orderId: data.order_id });
      ledger.told.push({ partnerId, webhookId, type, orderId: data.order_id, status: status || 599 });
      if (does === "hang") return;
      if (does === "reset") request.socket.resetAndDestroy();
      else response.writeHead(status, does === 429 ? { "Retry-After": "2" } : {}).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  system.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  return system;
}
