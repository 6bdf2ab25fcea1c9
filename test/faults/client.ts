import { Agent, request as httpRequest } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type { Ledger } from "./ledger.ts";

const TIMEOUT_MS = 8_000;
const PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 800;
const AGAIN = new Set(["idempotency_in_flight", "order_changed"]);

export interface Sending {
  token?: string;
  key?: string;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Reply<T> {
  /** 0: no answer came. */
  status: number;
  body: T;
  ms: number;
  error?: string;
}

/** Speaks to several addresses of one API in turn over kept connections, and measures each answer. */
export interface FaultClient {
  send<T = Record<string, unknown>>(
    operation: string,
    sending?: Sending,
    timeoutMs?: number,
  ): Promise<Reply<T>>;
  /** Again and again, with the same key, until an answer is final: neither silence, nor 5xx, nor 429. */
  settle<T = Record<string, unknown>>(operation: string, sending?: Sending): Promise<Reply<T>>;
  /** Stops all repeated requests at once. */
  stop(): void;
}

export function faultClient(urls: readonly string[], ledger?: Pick<Ledger, "answers">): FaultClient {
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  let turn = 0;
  let stopped = false;

  const send = <T>(operation: string, sending: Sending = {}, timeoutMs = TIMEOUT_MS): Promise<Reply<T>> => {
    const [method = "", target = ""] = operation.split(" ");
    const { token, key, body, headers } = sending;
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    const url = `${urls[turn++ % urls.length]}/api/v1${target}`;
    const sinceMs = performance.now();
    return new Promise((resolve) => {
      const end = (status: number, value: unknown, error?: string) => {
        const ms = performance.now() - sinceMs;
        ledger?.answers.note(operation, status, ms);
        resolve({ status, body: value as T, ms, ...(error && { error }) });
      };
      const asked = httpRequest(
        url,
        {
          method,
          agent,
          signal: AbortSignal.timeout(timeoutMs),
          headers: {
            ...(text !== undefined && {
              "Content-Type": "application/json",
              "Content-Length": Buffer.byteLength(text),
            }),
            ...(token && { Authorization: `Bearer ${token}` }),
            ...(key && { "Idempotency-Key": key }),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk) => chunks.push(chunk));
          response.on("error", (error) => end(0, undefined, error.message));
          response.on("end", () => {
            const said = Buffer.concat(chunks).toString();
            const isJson = /json/.test(response.headers["content-type"] ?? "");
            end(response.statusCode ?? 0, isJson && said ? JSON.parse(said) : undefined);
          });
        },
      );
      asked.on("error", (error) => end(0, undefined, error.message));
      asked.end(text);
    });
  };

  return {
    send,
    async settle<T>(operation: string, sending?: Sending) {
      for (let pauseMs = PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
        const reply = await send<T>(operation, sending);
        const code = (reply.body as { code?: string } | undefined)?.code;
        const isFinal =
          reply.status > 0 && reply.status < 500 && reply.status !== 429 && !AGAIN.has(code ?? "");
        if (isFinal || stopped) return reply;
        await delay(pauseMs);
      }
    },
    stop() {
      stopped = true;
      agent.destroy();
    },
  };
}
