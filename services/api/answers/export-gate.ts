import type { ServerResponse } from "node:http";
import { fail } from "../../../contracts/errors.ts";

/** Exports that one gateway streams at once; a user has one. */
const EXPORTS_MAX = 4;
const RETRY_AFTER_SECONDS = 10;

export interface ExportGate {
  /**
   * Streams an export to a client. An error after the status breaks the connection: only that can show that data are missing.
   * @throws TOO_MANY_REQUESTS while the user has another export, OVERLOADED, the errors of `stream` before the status
   */
  run(userId: string, res: ServerResponse, stream: () => Promise<void>): Promise<void>;
}

export function exportGate(): ExportGate {
  const running = new Set<string>();
  return {
    async run(userId, res, stream) {
      if (running.has(userId))
        throw fail("TOO_MANY_REQUESTS", "An export of yours is running.", {
          retryAfterSeconds: RETRY_AFTER_SECONDS,
        });
      if (running.size >= EXPORTS_MAX) throw fail("OVERLOADED");
      running.add(userId);
      try {
        await stream();
      } catch (error) {
        if (!res.headersSent) throw error;
        res.destroy();
      } finally {
        running.delete(userId);
      }
    },
  };
}
