import { once } from "node:events";
import { Agent, get, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "@jest/globals";
import { problemOf } from "../../services/api/answers/problem.ts";
import { type EdgeServer, edgeServer } from "../../services/api/edge/server.ts";
import { eventually } from "../support/eventually.ts";
import { servedBeside } from "../support/slow-sockets.ts";

/** The limit for other clients while 500 sockets are slow. */
const OTHERS_P99_MS = 500;

const patience = {
  headersMs: 300,
  requestMs: 600,
  keepAliveMs: 2_000,
  checkIntervalMs: 100,
  closeGraceMs: 300,
};

let server: EdgeServer | undefined;
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server?.close();
});

async function listen(
  handler: (req: IncomingMessage, res: ServerResponse) => void,
  limits = patience,
): Promise<number> {
  const problemFor = (error: Error) =>
    problemOf(error, { docsUrl: "http://x/docs/errors", instance: "urn:x" });
  server = edgeServer(handler, problemFor, limits);
  return await server.listen(0, "127.0.0.1");
}

/** A connection, and what came back on it so far. */
function talk(port: number, bytes: string): { socket: Socket; text: () => string } {
  const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
  sockets.push(socket);
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  socket.on("error", () => undefined);
  return { socket, text: () => text };
}

describe("edge server", () => {
  it.each([
    ["header", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "],
    ["body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1"],
  ])("whose client sends its %s too slowly, answers 408 and closes", async (_, bytes) => {
    const port = await listen((req, res) => req.on("end", () => res.end()).resume());
    const { socket, text } = talk(port, bytes);
    await once(socket, "close");
    expect(text()).toMatch(/^HTTP\/1\.1 408 [\s\S]*"code":"request_too_slow"/);
  });

  it.each([
    ["never finish a header", "GET / HTTP/1.1\r\nX-Slow: ", "x"],
    ["never finish a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n", "1"],
    ["say nothing at all", "", ""],
  ])("with 500 sockets that %s, serves others at once", async (_, begin, drip) => {
    const port = await listen((req, res) => req.on("end", () => res.end("here")).resume(), {
      ...patience,
      headersMs: 30_000,
      requestMs: 30_000,
    });
    const { p99Ms, closed } = await servedBeside(
      port,
      { begin, drip },
      {
        request: "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        answer: /here/,
        allowedMs: OTHERS_P99_MS,
      },
    );
    expect(p99Ms).toBeLessThan(OTHERS_P99_MS);
    expect(closed).toBe(0);
  });

  it("that was not started, does not listen", () => {
    const unused = edgeServer(
      () => undefined,
      () => ({}) as never,
      patience,
    );
    expect(unused.listening).toBe(false);
  });

  it("that is closed, lets a running request end and takes no other on its connection", async () => {
    let answer: ServerResponse | undefined;
    const port = await listen((_, res) => {
      answer = res;
    });
    const { socket, text } = talk(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually(async () => expect(answer).toBeDefined());
    expect(server?.listening).toBe(true);
    const closing = server?.close();
    expect(server?.listening).toBe(false);
    answer?.end("finished");
    await Promise.all([closing, once(socket, "close")]);
    expect(text()).toContain("finished");
    await expect(once(connect(port, "127.0.0.1"), "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("that is closed under a request that does not end, cuts it off after its grace", async () => {
    const port = await listen((_, res) => res.writeHead(200).write("and so on"));
    const { socket, text } = talk(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually(async () => expect(text()).toContain("and so on"));
    const startedMs = performance.now();
    await Promise.all([server?.close(), once(socket, "close")]);
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });

  it("with idle connections, closes them when it is closed itself", async () => {
    const port = await listen((_, res) => res.end("ok"));
    const agent = new Agent({ keepAlive: true });
    const request = get({ port, agent });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    await once(response.resume(), "end");
    const startedMs = performance.now();
    await server?.close();
    expect(performance.now() - startedMs).toBeLessThan(200);
    agent.destroy();
  });
});
