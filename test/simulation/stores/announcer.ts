import type * as real from "../../../lib/messaging/announcer.ts";

export const announcer: typeof real.announcer = () => ({ announce: () => undefined, stop: () => undefined });
