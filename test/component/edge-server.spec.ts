import { once } from "node:events";
import { Agent, get, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it, jest } from "@jest/globals";
import { problemOf } from "../../services/api/answers/problem.ts";
import { DEFAULT_TIMEOUTS, type EdgeServer, edgeServer } from "../../services/api/edge/server.ts";
import { eventually } from "../support/eventually.ts";
import { text } from "../support/manifests.ts";
import { servedBeside } from "../support/slow-sockets.ts";

/** How long proxies keep an idle connection: a server has to keep it longer. */
const PROXY_KEEP_ALIVE_MS = 60_000;
/** A process ends within this time after SIGTERM. */
const STOP_LIMIT_MS = 10_000;

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
  jest.useRealTimers();
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
  ])("with a client that sends its %s too slowly, answers 408 and closes", async (_, bytes) => {
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
      headersMs: 600_000,
      requestMs: 600_000,
    });
    const closed = await servedBeside(
      port,
      { begin, drip },
      { request: "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answer: /here/ },
    );
    expect(closed).toBe(0);
  });

  it("sent what is no HTTP behind a request that it answers, ends the connection and adds nothing", async () => {
    const port = await listen((_, res) => res.writeHead(200, { "Content-Length": 9 }).write("begun"));
    const { socket, text } = talk(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually(async () => expect(text()).toContain("begun"));
    socket.write("nonsense\r\n\r\n");
    await once(socket, "close");
    expect(text()).toMatch(/^HTTP\/1\.1 200 [\s\S]*begun$/);
  });

  it.each([
    [
      "whose answer has not begun",
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "nonsense\r\n\r\n",
      () => undefined,
      "",
    ],
    [
      "whose body is still coming, while its answer has begun",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n",
      "no chunk\r\n",
      (res: ServerResponse) => void res.writeHead(200).write("begun"),
      "begun",
    ],
  ])(
    "sent what is no HTTP in or behind a request %s, ends the connection and adds nothing",
    async (...its) => {
      const [, bytes, nonsense, begin, before] = its;
      let asked = 0;
      const port = await listen((req, res) => {
        asked += 1;
        req.resume();
        begin(res);
      });
      const { socket, text } = talk(port, bytes);
      await eventually(async () => expect(asked).toBe(1));
      await eventually(async () => expect(text()).toContain(before));
      socket.write(nonsense);
      await once(socket, "close");
      expect(text()).not.toContain("400");
    },
  );

  it("whose client resets the connection during a request, continues for others", async () => {
    const port = await listen((req, res) => req.on("end", () => res.end("served")).resume());
    const { socket } = talk(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1");
    await once(socket, "connect");
    socket.resetAndDestroy();
    const other = talk(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await once(other.socket, "close");
    expect(other.text()).toContain("served");
  });

  it("that is being closed, sends `Connection: close` with each further answer", async () => {
    const answers: ServerResponse[] = [];
    const port = await listen((_, res) => answers.push(res));
    const { socket, text } = talk(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually(async () => expect(answers).toHaveLength(1));
    const closing = server?.close();
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually(async () => expect(answers).toHaveLength(2));
    for (const answer of answers) answer.end("finished");
    await Promise.all([closing, once(socket, "close")]);
    expect(text()).toMatch(/finished[\s\S]*\r\nConnection: close\r\n[\s\S]*finished$/);
  });

  it("that is closed, twice too, leaves no timer behind", async () => {
    await listen(() => undefined);
    jest.useFakeTimers({ doNotFake: ["setImmediate", "nextTick", "performance", "Date"] });
    await Promise.all([server?.close(), server?.close()]);
    expect(jest.getTimerCount()).toBe(0);
  });

  it("sent what is no HTTP behind a request that it has answered, answers 400 and closes", async () => {
    const port = await listen((_, res) => res.end("done"));
    const { socket, text } = talk(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually(async () => expect(text()).toContain("done"));
    socket.write("nonsense\r\n\r\n");
    await once(socket, "close");
    expect(text()).toMatch(/done[\s\S]*HTTP\/1\.1 400 [\s\S]*"code":"bad_request"/);
  });

  it("sent a second request behind one whose answer closes the connection, does not take it", async () => {
    let requests = 0;
    const port = await listen((_, res) => {
      requests += 1;
      res.setHeader("Connection", "close").end("once");
    });
    const { socket, text } = talk(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2));
    await once(socket, "close");
    expect(requests).toBe(1);
    expect(text().match(/once/g)).toHaveLength(1);
  });

  it("by default, keeps connections longer than proxies do, and ends slow requests before these give up", () => {
    const { headersMs, requestMs, keepAliveMs, checkIntervalMs, closeGraceMs } = DEFAULT_TIMEOUTS;
    const [, seconds] = /timeout client (\d+)s/.exec(text("deploy/proxy/haproxy.cfg")) ?? [];
    expect(headersMs).toBeLessThan(requestMs);
    expect(requestMs).toBeLessThan(Number(seconds) * 1000);
    expect(keepAliveMs).toBeGreaterThan(PROXY_KEEP_ALIVE_MS);
    expect(keepAliveMs).toBeLessThan(2 * PROXY_KEEP_ALIVE_MS);
    expect(checkIntervalMs).toBeLessThan(headersMs);
    expect(closeGraceMs).toBeLessThan(STOP_LIMIT_MS);
  });

  it("on a port of another server, reports it", async () => {
    const port = await listen(() => undefined);
    const second = edgeServer(
      () => undefined,
      () => ({}) as never,
    );
    await expect(second.listen(port, "127.0.0.1")).rejects.toMatchObject({ code: "EADDRINUSE" });
  });

  it("before its start, does not listen", () => {
    const unused = edgeServer(
      () => undefined,
      () => ({}) as never,
      patience,
    );
    expect(unused.listening).toBe(false);
  });

  it("during its close, completes a running request and accepts no other on its connection", async () => {
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

  it("during its close, ends an endless request after its grace period", async () => {
    const port = await listen((_, res) => res.writeHead(200).write("and so on"));
    const { socket, text } = talk(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually(async () => expect(text()).toContain("and so on"));
    await Promise.all([server?.close(), once(socket, "close")]);
  });

  it("with idle connections, closes them at its close", async () => {
    // The grace is for running requests: idle connections do not wait for its end.
    const port = await listen((_, res) => res.end("ok"), {
      ...patience,
      keepAliveMs: 600_000,
      closeGraceMs: 600_000,
    });
    const agent = new Agent({ keepAlive: true });
    const request = get({ port, agent });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    await once(response.resume(), "end");
    await server?.close();
    agent.destroy();
  });
});
