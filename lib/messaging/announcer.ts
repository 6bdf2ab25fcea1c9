import type { Db } from "../sql/database.ts";
import { rows } from "../sql/database.ts";

const DEBOUNCE_MS = 20;

/**
 * Notifies other replicas that a queue has more messages than this replica can take now. A writer wakes the relay or
 * workers of its own process directly, so most messages need no notification. Notifications are not sent inside the
 * transaction that writes: PostgreSQL commits only one transaction with NOTIFY at a time, and the others wait until its
 * log is on disk (16 clients on two cores: 2,900 commits a second with NOTIFY, 5,400 without). All announcements within
 * 20 ms are one statement.
 */
export function announcer(options: { db: () => Db; channel: string; from: string }) {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const announce = () => {
    timer = undefined;
    // A failure is ignored: the sweeps of the other replicas find the messages too.
    rows(options.db(), "SELECT pg_notify(?, ?)", [options.channel, options.from]).catch(() => undefined);
  };
  return {
    announce() {
      if (stopped || timer) return;
      timer = setTimeout(announce, DEBOUNCE_MS);
      timer.unref();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

export type Announcer = ReturnType<typeof announcer>;
