import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Seen {
  operation: string;
  headers: IncomingMessage["headers"];
  body: string;
}
export type Answer = (response: ServerResponse, seen: Seen) => void;

export interface ClientServer {
  url: string;
  seen: Seen[];
  /** The next answers, in this order; when none is planned, the server answers an empty list. */
  planned: Answer[];
  close(): Promise<void>;
}

/** A platform as far as the typed client sees it: a server that answers what a test plans. */
export async function clientServer(): Promise<ClientServer> {
  const seen: Seen[] = [];
  const planned: Answer[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const one = {
      operation: `${request.method} ${request.url?.replace("/api/v1", "")}`,
      headers: request.headers,
      body: Buffer.concat(chunks).toString("utf8"),
    };
    seen.push(one);
    (planned.shift() ?? json(200, { items: [] }))(response, one);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    planned,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function json(status: number, body?: object, headers: Record<string, string> = {}): Answer {
  return (response) => {
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(body && JSON.stringify(body));
  };
}

/** The request arrives, and its answer never does. */
export const lost: Answer = (response) => void response.destroy();
