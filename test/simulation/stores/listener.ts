import type * as real from "../../../lib/messaging/listener.ts";

/** Nobody hears notifications: they only save waiting, so nothing may depend on them. */
export const startListener: typeof real.startListener = () => ({ stop: async () => undefined });
