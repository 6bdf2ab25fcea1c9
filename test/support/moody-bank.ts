import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** How the bank treats requests for refunds: `lost` does the refund and says nothing. */
export type Mood = "well" | "lost" | "down" | "refuses" | "slow" | "hangs" | "fails";

/** A bank that speaks the sandbox's language and can be put into any mood; it counts what it really gave back. */
export async function startMoodyBank() {
  const done = new Map<string, { state: "pending" | "completed" | "failed"; reason?: string }>();
  const asked: string[] = [];
  const given = new Map<string, number>();
  const bank = {
    mood: "well" as Mood,
    /** Why a refund fails, in the mood for it. */
    reason: "",
    url: "",
    done,
    /** The amounts really refunded, in minor units, by the refund's id. */
    given,
    /** How often a refund was asked for that the bank had done already. */
    repeats: 0,
    asked,
    finish: () => finish(),
    /** Ends what hangs, without an answer. */
    letGo: () => server.closeAllConnections(),
    stop: async () => stop(),
  };
  const finish = () => {
    for (const refund of done.values()) refund.state = "completed";
  };
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => {
      text += chunk;
    });
    request.on("end", () => {
      const path = request.url ?? "";
      const send = (status: number, body: object) => response.writeHead(status).end(JSON.stringify(body));
      if (path === "/checkouts") return void send(201, { id: "c", url: `${bank.url}/pay` });
      asked.push(`${request.method} ${path}`);
      if (bank.mood === "down") return void request.socket.destroy();
      if (bank.mood === "hangs") return;
      if (request.method === "GET") {
        const refund = done.get(path.slice("/refunds/".length));
        return void (refund ? send(200, { id: "r", ...refund }) : send(404, {}));
      }
      if (bank.mood === "refuses") return void send(422, {});
      const { id, amount_minor: amountMinor } = JSON.parse(text) as { id: string; amount_minor: number };
      if (bank.mood === "fails") {
        const failed = { state: "failed" as const, reason: bank.reason };
        done.set(id, failed);
        return void send(201, { id, ...failed });
      }
      const known = done.get(id) ?? { state: bank.mood === "slow" ? "pending" : "completed" };
      if (done.has(id)) bank.repeats += 1;
      else given.set(id, amountMinor);
      done.set(id, known);
      if (bank.mood === "lost") return void request.socket.destroy();
      send(201, { id, ...known });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  bank.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return bank;
}
