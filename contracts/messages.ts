import { availability } from "./catalogue.ts";
import { vehicle } from "./couriers.ts";
import { ACCEPTANCE_MINUTES_MAX, ACCEPTANCE_MINUTES_MIN } from "./order-status.ts";
import { bearer, orderCustomer, orderStatus, paymentStatus, receiptOutcome, rejection } from "./orders.ts";
import { partnerNotice } from "./partner-notices.ts";
import { partner, quotedLine } from "./partners.ts";
import { role } from "./roles.ts";
import {
  boolean,
  type Infer,
  integer,
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
import { address, language, orderNumber, personName, sessionId } from "./shared.ts";

/** The whole order at one version. The newest version wins, so a consumer can skip versions. */
const orderSnapshot = object({
  version,
  orderId: uuid,
  number: optional(orderNumber),
  status: orderStatus,
  previousStatus: optional(orderStatus),
  paymentStatus,
  customer: orderCustomer,
  partnerId: uuid,
  partnerTitle: text(120),
  delivererId: optional(uuid),
  /** With `order.released`: the deliverer from whom the order was taken, or who gave it back. */
  formerDelivererId: optional(uuid),
  /** With `order.ready`, `order.released` and `order.pooled`: couriers on duty near the partner, the nearest first. */
  nearbyDelivererIds: optional(listOf(uuid)),
  lines: listOf(quotedLine),
  fee: storedMoney,
  total: storedMoney,
  paid: storedMoney,
  refunded: storedMoney,
  address,
  pickup: address,
  note: optional(text(500)),
  /** The actor of the transition: a user's id, `partner:<id>`, `bank:<id>` or `deadline`. */
  actor: text(100),
  reason: optional(text(500)),
  /** With `order.rejected` by hand: the stock of the products in it becomes 0. */
  rejection: optional(rejection),
  readyAt: optional(time),
  /** When the deliverer confirmed the pickup at the partner. */
  pickedUpAt: optional(time),
  /** With `order.offered`: the courier who may take the order, and until when. */
  offeredTo: optional(uuid),
  offerUntil: optional(time),
  deadlineAt: optional(time),
  /** The partner's time to accept the order, as it was when the order was made. Absent: the default. */
  acceptanceMinutes: optional(integer(ACCEPTANCE_MINUTES_MIN, ACCEPTANCE_MINUTES_MAX)),
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
  number: optional(orderNumber),
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
  role,
  /** The partner that the user works for; only with the role `partner`. */
  partnerId: optional(uuid),
  /** The user cannot sign in until an operator restores the account. */
  suspended: optional(boolean),
  /** The push token from the registration or the profile. */
  pushToken: optional(object({ provider: text(20), token: text(4096), deviceName: optional(text(100)) })),
});

const contents = {
  "order.created": orderSnapshot,
  "order.paid": orderSnapshot,
  "order.accepted": orderSnapshot,
  "order.rejected": orderSnapshot,
  "order.ready": orderSnapshot,
  "order.delayed": orderSnapshot,
  // The offers of a ready order to couriers, one after the other. The state stays `ready`.
  "order.offered": orderSnapshot,
  "order.offer_declined": orderSnapshot,
  "order.offer_expired": orderSnapshot,
  /** No further courier can be offered the order: all couriers see it in the pool. */
  "order.pooled": orderSnapshot,
  "order.assigned": orderSnapshot,
  /** The deliverer has confirmed the pickup at the partner. The state stays `delivering`. */
  "order.picked_up": orderSnapshot,
  "order.released": orderSnapshot,
  "order.delivered": orderSnapshot,
  "order.failed": orderSnapshot,
  "order.cancelled": orderSnapshot,
  "order.expired": orderSnapshot,
  /** The deliverer is near the partner or, after the pickup, near the customer. Sent once for an order and place. */
  "courier.near": object({
    version,
    orderId: uuid,
    number: optional(orderNumber),
    place: oneOf("pickup", "destination"),
    distanceMeters: integer(0, 40_100_000),
    delivererId: uuid,
    customer: orderCustomer,
    partnerId: uuid,
    partnerTitle: text(120),
  }),
  /** A courier began or ended the duty, or changed the vehicle. */
  "courier.duty_changed": object({ version, courierId: uuid, onDuty: boolean, vehicle: optional(vehicle) }),
  "payment.received": receipt,
  "payment.unmatched": receipt,
  "refund.requested": refund,
  "refund.completed": refund,
  "user.registered": user,
  "user.updated": user,
  "user.deleted": object({ version, userId: uuid }),
  /** A push token from the registration or the profile. It belongs to this session and is removed with it. */
  "user.device_added": object({
    version,
    userId: uuid,
    sessionId,
    language,
    provider: text(20),
    token: text(4096),
    deviceName: optional(text(100)),
  }),
  /** These sessions have ended for any reason: the devices registered in them are removed. */
  "user.signed_out": object({ version, userId: uuid, sessionIds: listOf(sessionId) }),
  "partner.updated": object({ version, partner }),
  /** Whether a partner was notified of an order to prepare; sent after the first try, and when no try is possible. */
  "partner.notified": partnerNotice,
  "availability.changed": object({ version, availability, deleted: boolean }),
  /** A direct request, as a code by e-mail. Notifications about orders follow from `order.*`. */
  "notification.requested": object({
    version,
    userId: optional(uuid),
    email: text(254),
    template: text(60),
    language,
    values: stringRecord,
    /** Secret values (codes and tokens) as JSON, encrypted with `mailAad` as additional authenticated data. */
    sealed: optional(text(8_000)),
  }),
  "notification.sent": object({ version, notificationId: uuid, userId: optional(uuid), event: text(60) }),
  "notification.failed": object({ version, notificationId: uuid, userId: optional(uuid), event: text(60) }),
  /** The recipient has switched this notification off: it is in the history and was not sent. */
  "notification.muted": object({ version, notificationId: uuid, userId: optional(uuid), event: text(60) }),
  /** The notification waits for the end of the recipient's quiet hours. */
  "notification.held": object({ version, notificationId: uuid, userId: optional(uuid), event: text(60) }),
  /** The recipient's quiet hours have ended: the notification is sent now. */
  "notification.due": object({ version, notificationId: uuid }),
  /** A paid order is not accepted yet: the partner's staff get a reminder, after that the operators. */
  "notification.reminder_due": object({ version, orderId: uuid, step: oneOf("staff", "operators") }),
  /** When the deferred notification was due, there was a newer one about the same order. */
  "notification.dropped": object({ version, notificationId: uuid, userId: optional(uuid), event: text(60) }),
  "alert.raised": object({ version, kind: text(60), subject: text(200), detail: text(2000) }),
  /** An operator's action, for Identity's audit log. It contains no names. */
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
 * The data of all messages that must arrive, by type. A breaking change needs a new type. A message contains values that
 * its sender has stored, so the rules for user input are not repeated here.
 */
export const messages = Object.fromEntries(
  Object.entries(contents).map(([type, data]) => [type, stored(data)]),
) as unknown as typeof contents;

export type MessageType = keyof typeof messages;
export type MessageData<T extends MessageType> = Infer<(typeof messages)[T]>;

/** A CloudEvents 1.0 event, named as in its JSON format. `subject` is the id of the order, user or other entity. */
export interface Message<T extends MessageType = MessageType> {
  specversion: "1.0";
  /** A UUIDv7 from the transaction of the change, so it contains the time of the message. */
  id: string;
  /** The sending service, as `waybill/orders`. */
  source: string;
  type: T;
  time: string;
  subject: string;
  dataschema: string;
  /** W3C trace context of the change. */
  traceparent?: string;
  data: MessageData<T>;
}

/** A message as its producer makes it. The outbox adds id, time, source and trace context. */
export interface NewMessage<T extends MessageType = MessageType> {
  type: T;
  subject: string;
  data: MessageData<T>;
}

/** Additional authenticated data of a mail's encrypted values: they decrypt only for this template and address. */
export function mailAad({ template, email }: { template: string; email: string }): string {
  return `mails/${template}/${email}`;
}

/** Makes a message of one type; the compiler checks its data against the schema of that type. */
export function message<T extends MessageType>(
  type: T,
  subject: string,
  data: MessageData<T>,
): NewMessage<T> {
  return { type, subject, data };
}
