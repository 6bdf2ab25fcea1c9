import type * as real from "../../../lib/messaging/listener.ts";

/** Notifications only shorten waits, so nothing may depend on them. The simulation delivers none. */
export const startListener: typeof real.startListener = () => ({ stop: async () => undefined });
