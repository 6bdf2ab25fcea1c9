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

/** The headers of Standard Webhooks, by which the callbacks of partners are verified too. */
export const STANDARD_WEBHOOK_HEADERS = ["webhook-id", "webhook-timestamp", "webhook-signature"] as const;

/**
 * The headers by which the callbacks of each adapter are verified, in lower case. The gateway passes on these, the content
 * type and those of partners' callbacks, and no others.
 */
export const callbackHeaders: Readonly<Record<Infer<typeof bankAdapter>, readonly string[]>> = {
  sandbox: STANDARD_WEBHOOK_HEADERS,
  stripe: ["stripe-signature"],
};

export const bank = object({
  id: uuid,
  title: text(120),
  adapter: bankAdapter,
  active: boolean,
  webcheckoutUrl: httpUrl,
  version: integer(1, 2 ** 31),
  /** How the bank answers polls for payments; for operators only, and absent before the first poll. */
  contact: optional(
    object({
      answeredAt: optional(time),
      /** The time of the first poll without an answer. */
      silentSince: optional(time),
      /** The bank is not polled before this time. */
      retryAt: optional(time),
      error: optional(text(500)),
    }),
  ),
});
export type Bank = Infer<typeof bank>;
