import { setTimeout as delay } from "node:timers/promises";
import { ApiError, answered, waybill } from "../../client/src/index.ts";
import type { DemoPlaces } from "./places.ts";
import type { Terminal } from "./terminal.ts";

const POLL_MS = 100;
const WAIT_MS = 30_000;

/** What a step of the demo cannot go on without. */
export class DemoError extends Error {}

/** Speaks to the platform and to the sandbox's pages, and shows each exchange. */
export function demoClient({ apiUrl, sandboxUrl }: DemoPlaces, terminal: Terminal) {
  const api = waybill({ url: apiUrl });

  return {
    api,
    /** One exchange that is shown, with what matters of its answer. */
    async shown<T>(
      operation: string,
      exchange: Promise<{ data?: T; response: Response }>,
      essence: (body: T) => string,
    ): Promise<T> {
      const [method = "", path = ""] = operation.split(" ");
      terminal.request(method, `/api/v1${path}`);
      const startMs = performance.now();
      try {
        const body = await answered(exchange);
        const { status } = (await exchange).response;
        terminal.answer(status, performance.now() - startMs, essence(body));
        return body;
      } catch (error) {
        if (error instanceof ApiError && error.status > 0) {
          terminal.answer(error.status, performance.now() - startMs, error.code);
        }
        throw error;
      }
    },
    /** One of the sandbox's JSON pages. */
    async sandbox<T>(path: string): Promise<T> {
      const response = await fetch(sandboxUrl + path);
      if (!response.ok) throw new DemoError(`the sandbox answered ${response.status} to ${path}`);
      return (await response.json()) as T;
    },
    /** Presses a button of a page in the browser's way, and shows it. */
    async submit(url: string, fields: Record<string, string>, shown: string): Promise<void> {
      terminal.request("POST", `${new URL(url).pathname}  (${shown})`);
      const startMs = performance.now();
      const response = await fetch(url, {
        method: "POST",
        body: new URLSearchParams(fields),
        redirect: "follow",
      });
      const text = await response.text();
      const heading = /<h1>([^<]*)<\/h1>/.exec(text)?.[1] ?? "";
      terminal.answer(response.status, performance.now() - startMs, `the page says: ${heading}`);
      if (!response.ok) throw new DemoError(`the page answered ${response.status}`);
    },
    async post(path: string, body: object, essence: string): Promise<void> {
      terminal.request("POST", `${path}  (sandbox)`);
      const startMs = performance.now();
      const response = await fetch(sandboxUrl + path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      terminal.answer(
        response.status,
        performance.now() - startMs,
        response.ok ? essence : await response.text(),
      );
      if (!response.ok) throw new DemoError(`the sandbox answered ${response.status} to ${path}`);
    },
  };
}

export type DemoClient = ReturnType<typeof demoClient>;

/** Looks again and again until there is something. @throws DemoError saying what did not come */
export async function until<T>(what: () => string, look: () => Promise<T | undefined>): Promise<T> {
  const deadlineMs = Date.now() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadlineMs) throw new DemoError(`${what()} did not come within ${WAIT_MS / 1000} s`);
    await delay(POLL_MS);
  }
}
