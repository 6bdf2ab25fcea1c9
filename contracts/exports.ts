import { action } from "./action.ts";
import { courier } from "./couriers.ts";
import { auditEntry, profile, session } from "./identity.ts";
import { device, notification, preferences } from "./notifications.ts";
import { order, orderStatus, receiptOutcome } from "./orders.ts";
import { refundState } from "./payments.ts";
import {
  boolean,
  httpUrl,
  type Infer,
  integer,
  listOf,
  object,
  oneOf,
  optional,
  storedMoney,
  text,
  time,
  uuid,
} from "./schema.ts";
import { address, orderNumber, position } from "./shared.ts";

/** An own order with its payments. */
const exportedOrder = object({
  ...order.props,
  payments: listOf(object({ paymentId: text(200), outcome: receiptOutcome, amount: storedMoney, at: time })),
  refunds: listOf(object({ id: uuid, amount: storedMoney, state: refundState, reason: text(500), at: time })),
  /** Where the photo of the handover can be read, with an access token. */
  photoUrl: optional(httpUrl),
});

/** An address of the user's orders. */
const usedAddress = object({ address, firstUsedAt: time, lastUsedAt: time });

/** An order that a courier has delivered or delivers, without the data of its customer. */
const delivery = object({
  orderId: uuid,
  number: optional(orderNumber),
  status: orderStatus,
  partnerTitle: text(120),
  pickedUpAt: optional(time),
  closedAt: optional(time),
  /** The courier's last position on the way. */
  position: optional(object({ ...position.props, at: time })),
});

/** The parts of an export, in the order of the file. */
const parts = {
  profile,
  /** Where the picture can be read, with an access token. */
  avatarUrl: optional(httpUrl),
  sessions: listOf(session),
  /** The acts of the user, and of operators on the user. */
  audit: listOf(auditEntry),
  /** Of a courier. */
  duty: optional(courier),
  addresses: listOf(usedAddress),
  orders: listOf(exportedOrder),
  deliveries: listOf(delivery),
  devices: listOf(device),
  preferences: optional(preferences),
  notifications: listOf(notification),
} as const;

/** A page of an export: a list in it continues the list of the same name in the page before. */
export const exportPage = object({
  ...parts,
  profile: optional(parts.profile),
  sessions: optional(parts.sessions),
  audit: optional(parts.audit),
  addresses: optional(parts.addresses),
  orders: optional(parts.orders),
  deliveries: optional(parts.deliveries),
  devices: optional(parts.devices),
  notifications: optional(parts.notifications),
});
export type ExportPage = Infer<typeof exportPage>;

/** The file of an export, which is made in the background. */
export const exportStatus = object({
  /** `failed`: it could not be made within its time. The next request begins another one. */
  state: oneOf("pending", "ready", "failed"),
  requestedAt: time,
  /** The file is deleted at this time. */
  expiresAt: time,
  /** Where the file can be read until `expires_at`, with an access token of the same user. */
  url: optional(httpUrl),
});
export type ExportStatus = Infer<typeof exportStatus>;

/** The content of the file. */
export const exportFile = object(parts);

/** All data of a user. With much data the lists hold their beginnings only, and `file` becomes the whole. */
export const exportedData = object({ ...parts, file: optional(exportStatus) });
export type ExportedData = Infer<typeof exportedData>;

/** Between services: the ticket names the user and the time until which the export may be made. */
const part = {
  params: object({ ticket: text(1000), cursor: optional(text(100)) }),
  result: object({ page: exportPage, nextCursor: optional(text(100)) }),
} as const;

export const exportActions = {
  "identity.exportData": action(object({}), exportedData, { idempotent: true }),
  /** Begins a file of the caller's data, unless there is one. */
  "identity.beginExport": action(object({}), exportStatus, { idempotent: true }),
  "identity.exportStatus": action(object({}), exportStatus, { idempotent: true }),
  /** A page of the caller's finished export. The first page has the number 1. */
  "identity.exportPage": action(
    object({ number: integer(1, 2 ** 31 - 1) }),
    object({ page: exportPage, isLast: boolean }),
    { idempotent: true },
  ),
  "orders.exportPage": action(part.params, part.result, { idempotent: true }),
  "notifications.exportPage": action(part.params, part.result, { idempotent: true }),
} as const;
