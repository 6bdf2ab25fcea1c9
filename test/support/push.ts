import { newId } from "../../lib/ids.ts";
import type { Push } from "../../providers/push/port.ts";

/** A push to a token that is like no other. */
export function pushTo(token: string, settings: Push["settings"], change: Partial<Push> = {}): Push {
  return {
    ...{ token, title: "On its way", body: "B", data: { event: "order.assigned" } },
    ...{ collapseId: newId(), settings, timeoutMs: 30_000 },
    ...change,
  };
}

/** A clock that stands until it is set. */
export function handClock(nowMs = Date.now()) {
  const clock = { nowMs, now: () => clock.nowMs };
  return clock;
}
