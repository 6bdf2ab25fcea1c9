import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect } from "@jest/globals";
import { eventually } from "./eventually.ts";
import { isTimed } from "./timed.ts";

const SOCKETS = 500;
const DRIP_INTERVAL_MS = 100;
const REQUESTS = 100;

export interface Slowness {
  /** The first bytes of each socket. */
  begin: string;
  /** Bytes sent at intervals, so that the socket is not taken for dead. */
  drip: string;
}

/** The maximal 99th percentile of other clients beside 500 sockets. */
const OTHERS_P99_MS = 500;

/**
 * Sends requests, each on a new connection, while 500 sockets hold a server up as well as they can; one that the server
 * closes is opened anew. Each request begins while all sockets are open. Where times are measured, the requests'
 * are held against the limit.
 * @param request what others send, as it goes over the wire
 * @param answer what they are answered with
 * @returns how many sockets the server has closed meanwhile
 * @throws Error when an answer is another one or, where times are measured, too late
 */
export async function servedBeside(
  port: number,
  slowness: Slowness,
  { request, answer }: { request: string; answer: RegExp },
): Promise<number> {
  const attack = attackOn(port, slowness);
  try {
    const tookMs: number[] = [];
    for (let count = 0; count < REQUESTS; count++) {
      await eventually(() => expect(attack.open()).toBe(SOCKETS));
      const startedMs = performance.now();
      const text = await exchange(port, request);
      tookMs.push(performance.now() - startedMs);
      if (!answer.test(text)) throw new Error(`answered: ${text}`);
    }
    const p99Ms = tookMs.sort((a, b) => a - b)[Math.ceil(REQUESTS * 0.99) - 1];
    if (isTimed) expect(p99Ms).toBeLessThan(OTHERS_P99_MS);
    return attack.closed();
  } finally {
    attack.end();
  }
}

function attackOn(port: number, { begin, drip }: Slowness) {
  const sockets = new Set<Socket>();
  let closed = 0;
  let isOver = false;
  const open = (): Socket => {
    const socket = connect(port, "127.0.0.1", () => socket.write(begin));
    sockets.add(socket);
    socket.resume();
    socket.on("error", () => undefined);
    socket.on("close", () => {
      sockets.delete(socket);
      if (isOver) return;
      closed++;
      open();
    });
    return socket;
  };
  for (let count = 0; count < SOCKETS; count++) open();
  const dripping = setInterval(() => {
    for (const socket of sockets) if (drip && socket.readyState === "open") socket.write(drip);
  }, DRIP_INTERVAL_MS);
  return {
    open: () => [...sockets].filter(({ readyState }) => readyState === "open").length,
    closed: () => closed,
    end() {
      isOver = true;
      clearInterval(dripping);
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** All that comes back on a connection of its own. */
async function exchange(port: number, request: string): Promise<string> {
  const socket = connect(port, "127.0.0.1", () => socket.write(request));
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  await once(socket, "close");
  return text;
}
