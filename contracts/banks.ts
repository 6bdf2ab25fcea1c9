import {
  boolean,
  httpUrl,
  type Infer,
  integer,
  object,
  oneOf,
  optional,
  text,
  time,
  uuid,
} from "./schema.ts";

export const bankAdapter = oneOf("sandbox", "stripe");

export const bank = object({
  id: uuid,
  title: text(120),
  adapter: bankAdapter,
  active: boolean,
  webcheckoutUrl: httpUrl,
  version: integer(1, 2 ** 31),
  /** How it answers when it is asked what was paid; for operators, once it was asked. */
  contact: optional(
    object({
      answeredAt: optional(time),
      /** Since when it has not answered. */
      silentSince: optional(time),
      /** It is left alone until then. */
      retryAt: optional(time),
      error: optional(text(500)),
    }),
  ),
});
export type Bank = Infer<typeof bank>;
