import { availability } from "./catalogue.ts";
import { bearer, orderCustomer, orderStatus, paymentStatus, receiptOutcome } from "./orders.ts";
import { partnerNotice } from "./partner-notices.ts";
import { partner, quotedLine } from "./partners.ts";
import {
  boolean,
  type Infer,
  listOf,
  matching,
  object,
  oneOf,
  optional,
  type Rule,
  stored,
  storedMoney,
  stringRecord,
  text,
  time,
  uuid,
  version,
} from "./schema.ts";
import { address, language, personName, sessionId } from "./shared.ts";

/** The whole order at one version: the newest wins, so no reader ever waits for one that it missed. */
const orderSnapshot = object({
  version,
  orderId: uuid,
  status: orderStatus,
  previousStatus: optional(orderStatus),
  paymentStatus,
  customer: orderCustomer,
  partnerId: uuid,
  partnerTitle: text(120),
  delivererId: optional(uuid),
  lines: listOf(quotedLine),
  fee: storedMoney,
  total: storedMoney,
  paid: storedMoney,
  refunded: storedMoney,
  address,
  pickup: address,
  note: optional(text(500)),
  /** Who moved it: a user's id, `partner:<id>`, `bank:<id>` or `deadline`. */
  actor: text(100),
  reason: optional(text(500)),
  readyAt: optional(time),
  deadlineAt: optional(time),
  traceId: optional(matching(/^[0-9a-f]{32}$/, 32, "32 hexadecimal digits")),
});
export type OrderSnapshot = Infer<typeof orderSnapshot>;

const receipt = object({
  version,
  orderId: optional(uuid),
  bankId: uuid,
  paymentId: text(200),
  eventId: text(200),
  outcome: receiptOutcome,
  amount: storedMoney,
});

const refund = object({
  version,
  refundId: uuid,
  orderId: uuid,
  bankId: uuid,
  paymentId: text(200),
  amount: storedMoney,
  reason: text(500),
  borneBy: optional(bearer),
});

const user = object({
  version,
  userId: uuid,
  email: text(254),
  firstName: personName,
  language,
  role: oneOf("customer", "deliverer", "partner", "admin"),
  /** The push token that came with the registration or the profile. */
  pushToken: optional(object({ provider: text(20), token: text(4096), deviceName: optional(text(100)) })),
});

const contents = {
  "order.created": orderSnapshot,
  "order.paid": orderSnapshot,
  "order.accepted": orderSnapshot,
  "order.rejected": orderSnapshot,
  "order.ready": orderSnapshot,
  "order.delayed": orderSnapshot,
  "order.assigned": orderSnapshot,
  "order.released": orderSnapshot,
  "order.delivered": orderSnapshot,
  "order.failed": orderSnapshot,
  "order.cancelled": orderSnapshot,
  "order.expired": orderSnapshot,
  "payment.received": receipt,
  "payment.unmatched": receipt,
  "refund.requested": refund,
  "refund.completed": refund,
  "user.registered": user,
  "user.updated": user,
  "user.deleted": object({ version, userId: uuid }),
  /** A push token that came with the registration or the profile: it belongs to this session and goes with it. */
  "user.device_added": object({
    version,
    userId: uuid,
    sessionId,
    language,
    provider: text(20),
    token: text(4096),
    deviceName: optional(text(100)),
  }),
  /** These sessions are over, however they ended: what was registered in them goes. */
  "user.signed_out": object({ version, userId: uuid, sessionIds: listOf(sessionId) }),
  "partner.updated": object({ version, partner }),
  /** Whether a partner was notified of an order to prepare; said once a notice was tried, and when it cannot be. */
  "partner.notified": partnerNotice,
  "availability.changed": object({ version, availability, deleted: boolean }),
  /** A direct send, as a code by e-mail; what orders send comes from `order.*`. */
  "notification.requested": object({
    version,
    userId: optional(uuid),
    email: text(254),
    template: text(60),
    language,
    values: stringRecord,
    /** Further values as JSON, for nobody to read on the way: codes and tokens, sealed for `mailSealPlace`. */
    sealed: optional(text(8_000)),
  }),
  "notification.sent": object({ version, notificationId: uuid, userId: optional(uuid), event: text(60) }),
  "notification.failed": object({ version, notificationId: uuid, userId: optional(uuid), event: text(60) }),
  /** Its receiver wants no such news: it stands in the history and was sent to nobody. */
  "notification.muted": object({ version, notificationId: uuid, userId: optional(uuid), event: text(60) }),
  /** It waits for the end of its receiver's quiet hours. */
  "notification.held": object({ version, notificationId: uuid, userId: optional(uuid), event: text(60) }),
  /** Its receiver's quiet hours have ended: it is delivered now. */
  "notification.due": object({ version, notificationId: uuid }),
  /** It waited, and when it was due there was newer news of the same order. */
  "notification.dropped": object({ version, notificationId: uuid, userId: optional(uuid), event: text(60) }),
  "alert.raised": object({ version, kind: text(60), subject: text(200), detail: text(2000) }),
  /** What an operator did, for the audit log that Identity keeps. Nobody's name stands in it. */
  "audit.recorded": object({
    version,
    actorId: uuid,
    action: text(60),
    subject: text(200),
    detail: optional(text(2000)),
    ip: optional(text(45)),
  }),
} as const satisfies Record<string, Rule>;

/**
 * The data of every message that must arrive, by type. A breaking change takes a new type. A message tells what its
 * sender has stored, so no rule of what people may send is repeated here.
 */
export const messages = Object.fromEntries(
  Object.entries(contents).map(([type, data]) => [type, stored(data)]),
) as unknown as typeof contents;

export type MessageType = keyof typeof messages;
export type MessageData<T extends MessageType> = Infer<(typeof messages)[T]>;

/** CloudEvents 1.0, in the names of its JSON format; `subject` is the id of what the message is about. */
export interface Message<T extends MessageType = MessageType> {
  specversion: "1.0";
  /** UUIDv7: made in the transaction of the change, so it also tells the age. */
  id: string;
  /** The service that says it: `waybill/orders`. */
  source: string;
  type: T;
  time: string;
  subject: string;
  dataschema: string;
  /** W3C trace context of the work that made the change. */
  traceparent?: string;
  data: MessageData<T>;
}

/** What a producer states; id, time, source and trace context are added by the outbox. */
export interface NewMessage<T extends MessageType = MessageType> {
  type: T;
  subject: string;
  data: MessageData<T>;
}

/** What the sealed values of a mail belong to: copied into a mail of another kind or to somebody else they do not open. */
export function mailSealPlace({ template, email }: { template: string; email: string }): string {
  return `mails/${template}/${email}`;
}

/** A message of one type, its data held to the type's schema by the compiler. */
export function message<T extends MessageType>(
  type: T,
  subject: string,
  data: MessageData<T>,
): NewMessage<T> {
  return { type, subject, data };
}
