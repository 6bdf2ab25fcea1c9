import type { Db } from "../postgres/database.ts";
import { rows } from "../postgres/database.ts";

const QUIET_MS = 20;

/**
 * Tells other replicas that there is something in a queue. Not inside the transactions that put it there:
 * PostgreSQL lets only one transaction that notifies commit at a time and holds the others until its log is
 * on disk (see ADR 4 for what was measured). Many announcements within 20 ms are one statement.
 */
export function announcer(options: { db: () => Db; channel: string; from: string }) {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const announce = () => {
    timer = undefined;
    // Nobody waits for it and sweeps make up for it, so its failure is nobody's concern.
    rows(options.db(), "SELECT pg_notify(?, ?)", [options.channel, options.from]).catch(() => undefined);
  };
  return {
    announce() {
      if (stopped || timer) return;
      timer = setTimeout(announce, QUIET_MS);
      timer.unref();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

export type Announcer = ReturnType<typeof announcer>;
