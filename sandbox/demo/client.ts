import { setTimeout as delay } from "node:timers/promises";
import { ApiError, answered, waybill } from "@waybill/client";
import { DemoError, type DemoPlaces, sandboxPages } from "./pages.ts";
import type { Terminal } from "./terminal.ts";

const POLL_MS = 100;
const WAIT_MS = 30_000;

/** Calls the platform and the pages of the sandbox, and prints each exchange. */
export function demoClient({ apiUrl, sandboxUrl }: DemoPlaces, terminal: Terminal) {
  const api = waybill({ url: apiUrl });
  const pages = sandboxPages(sandboxUrl);

  return {
    api,
    /** Prints one exchange with the `essence` of its answer. */
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
    sandbox: pages.read,
    /** Submits a form as a browser does, and prints the exchange. */
    async submit(url: string, fields: Record<string, string>, shown: string): Promise<void> {
      terminal.request("POST", `${new URL(url).pathname}  (${shown})`);
      const startMs = performance.now();
      const { status, heading } = await pages.submit(url, fields);
      terminal.answer(status, performance.now() - startMs, `the page says: ${heading}`);
      if (status >= 400) throw new DemoError(`the page answered ${status}`);
    },
    async post(path: string, body: object, essence: string): Promise<void> {
      terminal.request("POST", `${path}  (sandbox)`);
      const startMs = performance.now();
      const { status, text } = await pages.post(path, body);
      terminal.answer(status, performance.now() - startMs, status < 400 ? essence : text);
      if (status >= 400) throw new DemoError(`the sandbox answered ${status} to ${path}`);
    },
  };
}

export type DemoClient = ReturnType<typeof demoClient>;

/** Polls until `poll` returns a value. @param what names the expected value in the error @throws DemoError after 30 s */
export async function waitFor<T>(what: () => string, poll: () => Promise<T | undefined>): Promise<T> {
  const deadlineMs = Date.now() + WAIT_MS;
  for (;;) {
    const found = await poll();
    if (found !== undefined) return found;
    if (Date.now() > deadlineMs) throw new DemoError(`${what()} did not come within ${WAIT_MS / 1000} s`);
    await delay(POLL_MS);
  }
}
