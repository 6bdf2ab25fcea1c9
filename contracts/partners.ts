import { action } from "./action.ts";
import { ACCEPTANCE_MINUTES_MAX, ACCEPTANCE_MINUTES_MIN } from "./order-status.ts";
import {
  array,
  boolean,
  clearable,
  currency,
  email,
  httpUrl,
  httpUrlOrEmpty,
  type Infer,
  integer,
  knownCurrency,
  listOf,
  matching,
  nothing,
  object,
  oneOf,
  optional,
  page,
  paging,
  stored,
  storedMoney,
  stringRecord,
  text,
  time,
  uuid,
  version,
} from "./schema.ts";
import { address, givenAddress, phone } from "./shared.ts";

const quantity = integer(1, 99);
/**
 * From and until in minutes after midnight in the partner's time zone; `until` may lie past midnight.
 * Weekday 0 is Sunday.
 */
const openingSpan = object({
  weekday: integer(0, 6),
  fromMinute: integer(0, 1439),
  untilMinute: integer(1, 2880),
});
export const hours = object({ timeZone: text(64), spans: array(openingSpan, { max: 28 }) });
export type Hours = Infer<typeof hours>;

/** The time to accept an order. Absent: the default. */
const acceptanceMinutes = optional(integer(ACCEPTANCE_MINUTES_MIN, ACCEPTANCE_MINUTES_MAX));

const partnerFields = {
  title: text(120),
  brand: optional(text(120)),
  phone,
  email,
  address,
  apiUrl: optional(httpUrl),
  currency,
  deliveryFeeMinor: integer(0, 1_000_000_00),
  preparationMinutes: integer(1, 600),
  acceptanceMinutes,
  proof: oneOf("pin", "pin_and_photo"),
} as const;

/** The same fields as user input, with stricter rules. */
const givenPartnerFields = { ...partnerFields, address: givenAddress, currency: knownCurrency } as const;

export const partner = object({
  id: uuid,
  ...stored(object(partnerFields)).props,
  hours,
  /** Whether the partner takes orders now: enabled, verified, within its hours and not paused. */
  open: boolean,
  busyUntil: optional(time),
  verified: boolean,
  enabled: boolean,
  version,
});
export type Partner = Infer<typeof partner>;

/** The copy of the partner's data that is stored with an order. */
export const partnerSnapshot = object({
  id: uuid,
  ...stored(object({ title: text(120), brand: optional(text(120)), phone })).props,
  pickup: address,
  preparationMinutes: integer(1, 600),
  acceptanceMinutes,
  proof: oneOf("pin", "pin_and_photo"),
});
export type PartnerSnapshot = Infer<typeof partnerSnapshot>;

export const requestedLine = object({ productId: uuid, quantity });
const line = { productId: uuid, title: text(160), quantity, unitPrice: storedMoney } as const;
export const quotedLine = stored(object(line));
export type QuotedLine = Infer<typeof quotedLine>;

/** The price of a cart, guaranteed for ten minutes; the gateway stores it for the customer. */
export const quote = object({
  checkId: uuid,
  expiresAt: time,
  partner: partnerSnapshot,
  lines: listOf(quotedLine),
  fee: storedMoney,
  total: storedMoney,
  address,
  note: optional(stored(text(500))),
});
export type Quote = Infer<typeof quote>;

export const webhookEndpoint = object({
  partnerId: uuid,
  url: optional(httpUrl),
  enabled: boolean,
  /** In the form of Standard Webhooks, `whsec_…`. Present only in the answer that creates it. */
  secret: optional(text(200)),
  /** The previous secret is valid until this time. */
  previousSecretUntil: optional(time),
  /** When the system answered 410 Gone. The partner takes no orders until its webhook is set again. */
  goneSince: optional(time),
});
export type WebhookEndpoint = Infer<typeof webhookEndpoint>;

/**
 * Whether a partner's system receives webhooks. `none`: staff takes the orders by hand; `gone`: it answered 410, and none is
 * sent until the webhook is set again; `disabled`: an admin has switched them off.
 */
export const webhookEndpointState = oneOf("none", "enabled", "disabled", "gone");

/** One attempt to send a message to a partner's system. All attempts have the same message id. */
export const webhookDelivery = object({
  id: uuid,
  messageId: text(100),
  type: text(60),
  orderId: optional(uuid),
  attempt: integer(1, 1000),
  /** `failed`: another attempt follows; `dead`: it was the last one; `stopped`: the order was cancelled. */
  state: oneOf("pending", "accepted", "failed", "dead", "stopped"),
  statusCode: optional(integer(0, 999)),
  durationMs: optional(integer(0, 600_000)),
  responseHead: optional(text(1024, 0)),
  /** The reason why there is no answer. */
  error: optional(text(200)),
  /** The time of a pending attempt. */
  dueAt: optional(time),
  createdAt: time,
});
export type WebhookDelivery = Infer<typeof webhookDelivery>;
export type WebhookEndpointState = Infer<typeof webhookEndpointState>;

const partnerId = { partnerId: uuid } as const;

/** A report of a partner's system on an order, after its signature was verified. */
export const partnerCallback = stored(
  object({
    partnerId: uuid,
    eventId: text(200),
    bodyHash: matching(/^[0-9a-f]{64}$/, 64, "64 hexadecimal digits"),
    type: oneOf("order.accepted", "order.rejected", "order.delayed", "order.ready"),
    orderId: uuid,
    reason: optional(text(500)),
    /** The promised time for the order to be ready, with `order.accepted` and `order.delayed`. */
    readyAt: optional(time),
    /** The time of the report by the clock of the partner's system: the latest promise holds. */
    saidAt: optional(time),
  }),
);
export type PartnerCallback = Infer<typeof partnerCallback>;

export const partnersActions = {
  "partners.list": action(object({ ...paging }), page(partner), { idempotent: true }),
  "partners.get": action(object({ ...partnerId }), partner, { idempotent: true }),
  "partners.create": action(object(givenPartnerFields), partner),
  /** Null removes an optional field. An empty text, which older clients send, does the same. */
  "partners.update": action(
    object({
      ...partnerId,
      expectedVersion: optional(version),
      title: optional(partnerFields.title),
      brand: clearable(text(120, 0)),
      phone: optional(partnerFields.phone),
      email: optional(partnerFields.email),
      address: optional(givenAddress),
      apiUrl: clearable(httpUrlOrEmpty),
      deliveryFeeMinor: optional(partnerFields.deliveryFeeMinor),
      preparationMinutes: optional(partnerFields.preparationMinutes),
      acceptanceMinutes,
      proof: optional(partnerFields.proof),
      enabled: optional(boolean),
      verified: optional(boolean),
    }),
    partner,
  ),
  // The broker does not repeat writes that replace a value: a repeat would undo changes that came in between.
  "partners.setHours": action(
    object({ ...partnerId, expectedVersion: optional(version), hours, at: optional(time) }),
    partner,
  ),
  "partners.setBusy": action(
    object({
      ...partnerId,
      expectedVersion: optional(version),
      busyUntil: optional(time),
      at: optional(time),
    }),
    partner,
  ),

  "partners.check": action(
    object({
      ...partnerId,
      lines: array(requestedLine, { min: 1, max: 50 }),
      address: givenAddress,
      note: optional(text(500)),
    }),
    quote,
    { idempotent: true },
  ),
  /** Reserves the stock of an order at the expected prices; for Orders only. A repeat finds its own reservation. */
  "partners.reserve": action(
    object({
      orderId: uuid,
      ...partnerId,
      lines: array(quotedLine, { min: 1, max: 50 }),
      fee: storedMoney,
      expiresAt: time,
    }),
    partnerSnapshot,
    { idempotent: true },
  ),
  /** Releases the reserved stock; for Orders only. Leaves a tombstone, which refuses a late reservation. */
  "partners.release": action(object({ orderId: uuid }), nothing, { idempotent: true }),

  "partners.getWebhook": action(object(partnerId), webhookEndpoint, { idempotent: true }),
  "partners.setWebhook": action(object({ ...partnerId, url: httpUrl, enabled: boolean }), webhookEndpoint),
  "partners.rotateWebhookSecret": action(object(partnerId), webhookEndpoint),
  "partners.testWebhook": action(object(partnerId), webhookDelivery),
  "partners.listWebhookDeliveries": action(
    object({ ...partnerId, ...paging, orderId: optional(uuid) }),
    page(webhookDelivery),
    { idempotent: true },
  ),
  /** For operators: the endpoint of a partner, and the attempts to send it the webhooks of one order, newest first. */
  "partners.orderWebhooks": action(
    object({ ...partnerId, orderId: uuid }),
    object({
      endpoint: webhookEndpointState,
      deliveries: listOf(webhookDelivery),
    }),
    { idempotent: true },
  ),
  "partners.replayWebhookDelivery": action(object({ ...partnerId, deliveryId: uuid }), webhookDelivery),
  /**
   * Verifies the raw callback, and answers after Orders has committed it. A repeat has no further effect, but the broker
   * does not repeat it: that would take longer than the gateway's time limit. The partner's system repeats it instead.
   */
  "partners.receiveCallback": action(
    object({ ...partnerId, headers: stringRecord, body: { type: "string", max: 65_536 } as const }),
    nothing,
  ),
} as const;
