import type * as real from "../../../mixins/messages/announcer.ts";

export const announcer: typeof real.announcer = () => ({ announce: () => undefined, stop: () => undefined });
