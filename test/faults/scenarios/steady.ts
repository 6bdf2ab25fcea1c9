import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS = 32;
const TICK_MS = 5;
/** Requests with an Idempotency-Key are repeated as often as the platform's own client repeats them. */
const TRIES = 3;
const FIRST_WAIT_MS = 300;
const BUSY = [0, 429, 503, 504];

/** One request of a steady load. */
export interface Shot {
  /** As `GET /orders/…`. */
  operation: string;
  token?: string;
  key?: string;
  /** An object, or the text as it is signed. */
  body?: object | string;
  headers?: Record<string, string>;
  /** The one status that is right. */
  wants: number;
  /** Told of the right answer. */
  heard?(body: unknown): void;
}

export interface Tally {
  sent: number;
  /** How often something with a key was sent again. */
  repeated: number;
  /** Why requests failed, with how many did. */
  failed: Map<string, number>;
  byStatus: Map<number, number>;
  times: number[];
}

export function newTally(): Tally {
  return { sent: 0, repeated: 0, failed: new Map(), byStatus: new Map(), times: [] };
}

export interface Steady {
  url: string;
  next(count: number): Shot;
  aSecond: number;
  tally: Tally;
  /** Whether an answer that is not the right one is borne; 0: none came. */
  isBorne(status: number): boolean;
  /** How often something with a key is sent at most; three times by default. */
  tries?: number;
  stop: AbortSignal;
}

/**
 * Requests at a steady pace over kept connections; only what has a key is repeated, with the same one. Resolves when
 * all have their answers.
 */
export async function steady({
  url,
  next,
  aSecond,
  tally,
  isBorne,
  stop,
  tries: most = TRIES,
}: Steady): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const running = new Set<Promise<void>>();
  const startedMs = performance.now();
  const fire = async (shot: Shot) => {
    const sinceMs = performance.now();
    let { status, text, waitMs } = await send(url, agent, shot);
    for (let tries = 1; shot.key && isBusy(status, text) && tries < most; tries += 1) {
      await delay(waitMs || FIRST_WAIT_MS * 2 ** (tries - 1));
      tally.repeated += 1;
      ({ status, text, waitMs } = await send(url, agent, shot));
    }
    tally.times.push(performance.now() - sinceMs);
    tally.byStatus.set(status, (tally.byStatus.get(status) ?? 0) + 1);
    if (status === shot.wants) return shot.heard?.(text ? JSON.parse(text) : undefined);
    if (isBorne(status)) return;
    const said = /"code":"\w+"/.exec(text)?.[0] ?? text.slice(0, 80);
    const what = shot.operation.replace(/[0-9a-f-]{36}/, ":id");
    const at = Math.round((performance.now() - startedMs) / 1000);
    const why = `${status || "none"} ${said} ${what} at ${at} s`;
    tally.failed.set(why, (tally.failed.get(why) ?? 0) + 1);
  };
  while (!stop.aborted) {
    const due = Math.floor(((performance.now() - startedMs) / 1000) * aSecond);
    for (; tally.sent < due; tally.sent += 1) {
      const one: Promise<void> = fire(next(tally.sent)).finally(() => running.delete(one));
      running.add(one);
    }
    await delay(TICK_MS);
  }
  await Promise.all(running);
  agent.destroy();
}

/** How many requests failed, and why, a line each. */
export function failures({ failed }: Tally): { count: number; lines: string[] } {
  return {
    count: [...failed.values()].reduce((all, times) => all + times, 0),
    lines: [...failed].map(([why, times]) => `${times} requests failed: ${why}`),
  };
}

function isBusy(status: number, text: string): boolean {
  return BUSY.includes(status) || (status === 409 && text.includes("idempotency_in_flight"));
}

interface Answer {
  status: number;
  text: string;
  /** As long as the platform asks to wait; 0 when it does not. */
  waitMs: number;
}

function send(url: string, agent: Agent, shot: Shot): Promise<Answer> {
  const [method = "", path = ""] = shot.operation.split(" ");
  const text = typeof shot.body === "object" ? JSON.stringify(shot.body) : shot.body;
  return new Promise((resolve) => {
    const silence = (error: Error) => resolve({ status: 0, text: error.message, waitMs: 0 });
    const asked = request(
      `${url}/api/v1${path}`,
      {
        ...{ method, agent, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) },
        headers: {
          ...(shot.token && { Authorization: `Bearer ${shot.token}` }),
          ...(shot.key && { "Idempotency-Key": shot.key }),
          ...(text && { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) }),
          ...shot.headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", silence);
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            text: Buffer.concat(chunks).toString(),
            waitMs: Number(response.headers["retry-after"] ?? 0) * 1000,
          }),
        );
      },
    );
    asked.on("error", silence);
    asked.end(text);
  });
}
