import { action } from "./action.ts";
import { bank, bankAdapter } from "./banks.ts";
import {
  ACCEPTANCE_MS,
  type OrderStatus,
  orderStatus,
  type PaymentStatus,
  paymentStatus,
} from "./order-status.ts";
import { partnerCallback, partnerSnapshot, quote, quotedLine } from "./partners.ts";
import { dispute, refundState } from "./payments.ts";
import {
  boolean,
  clearable,
  decimal,
  httpUrl,
  type Infer,
  integer,
  listOf,
  matching,
  nothing,
  object,
  oneOf,
  optional,
  page,
  paging,
  someMoney,
  stored,
  storedMoney,
  stringRecord,
  text,
  time,
  uuid,
  version,
} from "./schema.ts";
import { address, givenAddress, phone, position } from "./shared.ts";

const reason = text(500);
/** How often something was tried that is tried until it succeeds. */
const tries = integer(0, 2 ** 31 - 1);

export { ACCEPTANCE_MS, type OrderStatus, orderStatus, type PaymentStatus, paymentStatus };

export const orderCustomer = stored(object({ id: uuid, name: text(200), phone: optional(phone) }));

/** The order as its owner, its partner, its deliverer and the operators see it. */
export const order = object({
  id: uuid,
  status: orderStatus,
  paymentStatus,
  version,
  customer: orderCustomer,
  partner: partnerSnapshot,
  delivererId: optional(uuid),
  lines: listOf(quotedLine),
  fee: storedMoney,
  total: storedMoney,
  paid: storedMoney,
  refunded: storedMoney,
  address,
  note: optional(text(500)),
  bankId: uuid,
  checkoutUrl: optional(httpUrl),
  /** When the state it waits in ends by itself or raises an alert. */
  deadlineAt: optional(time),
  /** When the partner said that it will be ready. */
  readyAt: optional(time),
  reason: optional(reason),
  /** The photo that was taken at the handover, where the partner requires one. */
  proofPhotoId: optional(text(100)),
  /** Four digits that the customer tells the deliverer; shown to the customer only. */
  pin: optional(matching(/^\d{4}$/, 4, "four digits")),
  /** Opens the public tracking page; shown to the customer only. */
  trackingToken: optional(text(200)),
  createdAt: time,
  updatedAt: time,
  /** In the list of stuck orders: why it stands there. */
  stuckBecause: optional(text(1000)),
});
export type OrderView = Infer<typeof order>;

export const confirmation = object({
  orderId: uuid,
  status: orderStatus,
  checkoutUrl: httpUrl,
  callbackUrl: httpUrl,
  payBy: time,
});

export const historyEvent = object({
  id: uuid,
  type: text(60),
  at: time,
  from: optional(orderStatus),
  to: orderStatus,
  actor: text(100),
  reason: optional(reason),
  traceId: optional(matching(/^[0-9a-f]{32}$/, 32, "32 hexadecimal digits")),
  version,
});
export type HistoryEvent = Infer<typeof historyEvent>;

/** Where the deliverer is, as those who follow the order are told. */
export const orderPosition = object({ ...position.props, at: time });

/** A ready order in the deliverers' pool: where from, where to, nothing of the customer but the place. */
export const poolEntry = object({
  orderId: uuid,
  partnerId: uuid,
  partnerTitle: text(120),
  pickup: address,
  destination: address,
  fee: storedMoney,
  /** From the position that was given to the pickup, as the crow flies. */
  distanceMeters: optional(integer(0, 40_100_000)),
  readySince: time,
});

export const receiptOutcome = oneOf("accepted", "underpaid", "overpaid", "late", "unmatched");

/** Whose loss a refund is; `nobody`: the money never was anybody's but the customer's. */
export const bearer = oneOf("nobody", "partner", "platform");

export const tracking = object({
  status: orderStatus,
  partnerTitle: text(120),
  firstName: text(100),
  position: optional(position),
  positionAt: optional(time),
  updatedAt: time,
});

/** Why an order is where it is, in one answer. */
export const diagnosis = object({
  order,
  history: listOf(historyEvent),
  deadline: optional(
    object({
      at: time,
      overdue: boolean,
      effect: text(200),
      /** How often it could not be acted on, why, and when it is tried again. */
      failures: optional(integer(1, 2 ** 31 - 1)),
      error: optional(text(500)),
      retryAt: optional(time),
    }),
  ),
  /** Of a paid order: whether its partner was notified. */
  partnerNotice: optional(
    object({
      /** When Orders heard of it: the time to accept counts from here. Absent: the partner was not notified yet. */
      at: optional(time),
      /** Why the partner was not notified, as far as it is known. */
      problem: optional(text(500)),
    }),
  ),
  undelivered: listOf(
    object({ messageId: uuid, type: text(60), attempts: tries, error: optional(text(2000)) }),
  ),
  receipts: listOf(
    object({
      paymentId: text(200),
      outcome: receiptOutcome,
      amount: storedMoney,
      at: time,
    }),
  ),
  refunds: listOf(
    object({
      id: uuid,
      amount: storedMoney,
      state: refundState,
      reason,
      borneBy: optional(bearer),
    }),
  ),
  disputes: listOf(dispute),
  /** How its bank is asked what was paid, in case the callback was lost. */
  reconciliation: optional(
    object({
      /** Absent: it need not be asked any more. */
      nextAt: optional(time),
      looks: tries,
      answeredAt: optional(time),
      error: optional(text(500)),
    }),
  ),
});

const orderId = { orderId: uuid } as const;

export const ordersActions = {
  /**
   * For the gateway, which vouches for the quote out of its cache of checks. It bears a repeat, but the time budget
   * holds one try with Partners and the bank: the next one is the client's.
   */
  "orders.confirm": action(object({ bankId: uuid, quote, customer: orderCustomer }), confirmation),
  /** For the gateway, when it no longer has the check of a confirmation that is repeated. */
  "orders.reopenCheckout": action(object({ ...orderId, bankId: uuid }), confirmation),
  /** The raw callback of a bank; verified by that bank's adapter. Answers after the commit only. */
  "orders.receivePayment": action(
    object({ bankId: uuid, headers: stringRecord, body: { type: "string", max: 65_536 } as const }),
    nothing,
    { idempotent: true },
  ),
  /** For Partners, over the broker: a genuine callback of the partner's system. Commits it with its effect. */
  "orders.applyPartnerCallback": action(partnerCallback, nothing, { idempotent: true }),
  /** For Partners, which asks before it acts on what may be long past: where the order is now. Absent: there is none. */
  "orders.state": action(
    object(orderId),
    object({
      state: optional(object({ status: orderStatus, previousStatus: optional(orderStatus), version })),
    }),
    { idempotent: true },
  ),
  /** For Identity, before an account is deleted: the caller's own orders that have not ended. */
  "orders.openOf": action(object({}), object({ orderIds: listOf(uuid) }), { idempotent: true }),
  "orders.get": action(object(orderId), order, { idempotent: true }),
  "orders.list": action(object({ ...paging, status: optional(orderStatus) }), page(order), {
    idempotent: true,
  }),
  "orders.history": action(object(orderId), object({ items: listOf(historyEvent) }), { idempotent: true }),
  "orders.update": action(
    object({
      ...orderId,
      expectedVersion: optional(version),
      address: optional(givenAddress),
      note: clearable(text(500, 0)),
    }),
    order,
  ),
  "orders.cancel": action(object({ ...orderId, reason: optional(reason) }), order, { idempotent: true }),
  "orders.available": action(
    object({
      latitude: optional({ ...decimal(-90, 90), convert: true } as const),
      longitude: optional({ ...decimal(-180, 180), convert: true } as const),
      limit: paging.limit,
    }),
    object({ items: listOf(poolEntry) }),
    { idempotent: true },
  ),
  "orders.claim": action(object(orderId), order, { idempotent: true }),
  "orders.unclaim": action(object({ ...orderId, reason: optional(reason) }), order, { idempotent: true }),
  "orders.reportLocation": action(
    /** `at`: when the device was there. A position that is older than the one known changes nothing. */
    object({ ...orderId, position, at: optional(time) }),
    nothing,
    { idempotent: true },
  ),
  /** A wrong PIN counts each time it comes, so that nothing but the deliverer repeats it. */
  "orders.deliver": action(
    object({ ...orderId, pin: matching(/^\d{4}$/, 4, "four digits"), photoId: optional(text(100)) }),
    order,
  ),
  "orders.fail": action(object({ ...orderId, reason }), order, { idempotent: true }),
  "orders.track": action(object({ token: text(200) }), tracking, { idempotent: true }),

  "orders.refund": action(object({ ...orderId, amount: optional(someMoney), reason }), order),
  "orders.reassign": action(object({ ...orderId, delivererId: optional(uuid), reason }), order),
  "orders.override": action(object({ ...orderId, to: orderStatus, reason }), order),
  "orders.diagnosis": action(object(orderId), diagnosis, { idempotent: true }),
  "orders.stuck": action(object({ limit: paging.limit }), object({ items: listOf(order) }), {
    idempotent: true,
  }),

  "orders.listBanks": action(object({}), object({ items: listOf(bank) }), { idempotent: true }),
  "orders.createBank": action(
    object({
      title: text(120),
      adapter: bankAdapter,
      settings: stringRecord,
      webcheckoutUrl: httpUrl,
      active: boolean,
    }),
    bank,
  ),
  "orders.updateBank": action(
    object({
      bankId: uuid,
      expectedVersion: optional(version),
      title: optional(text(120)),
      settings: optional(stringRecord),
      webcheckoutUrl: optional(httpUrl),
      active: optional(boolean),
    }),
    bank,
  ),
} as const;
