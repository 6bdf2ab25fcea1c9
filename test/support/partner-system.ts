import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";

/** How a partner's system answers: with a status, never, or by breaking the connection. */
export type Behaviour =
  | "hang"
  | "reset"
  | { status: number; headers?: Record<string, string>; body?: string | Buffer };

export interface ReceivedCall {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
  atMs: number;
}

/** A partner's system on a real socket, which answers as the test configures. */
export async function startPartnerSystem(behaviour: Behaviour = { status: 204 }) {
  const calls: ReceivedCall[] = [];
  const state = { behaviour, open: 0, mostOpen: 0 };
  const server = createServer(async (request, response) => {
    state.open += 1;
    state.mostOpen = Math.max(state.mostOpen, state.open);
    response.once("close", () => {
      state.open -= 1;
    });
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { url = "", headers } = request;
    calls.push({ path: url, headers, body: Buffer.concat(chunks).toString("utf8"), atMs: Date.now() });
    const does = state.behaviour;
    if (does === "hang") return;
    if (does === "reset") request.socket.resetAndDestroy();
    else response.writeHead(does.status, does.headers).end(does.body);
  });
  const { promise: listening, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", () => resolve());
  await listening;
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/orders`,
    calls,
    state,
    does(next: Behaviour) {
      state.behaviour = next;
    },
    async stop() {
      const { promise: closed, resolve: done } = Promise.withResolvers<void>();
      server.close(() => done());
      server.closeAllConnections();
      await closed;
    },
  };
}

export type PartnerSystem = Awaited<ReturnType<typeof startPartnerSystem>>;
