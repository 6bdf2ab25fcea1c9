import type * as real from "../../../mixins/messages/listener.ts";

/** Nobody hears notifications: they only save waiting, so nothing may depend on them. */
export const startListener: typeof real.startListener = () => ({ stop: async () => undefined });
