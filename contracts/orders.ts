import { action } from "./action.ts";
import { bank, bankAdapter } from "./banks.ts";
import { undeliveredMessage } from "./dead-letters.ts";
import { diagnosisCause, diagnosisFinding, notAsked } from "./order-diagnosis.ts";
import { type OrderStatus, orderStatus, type PaymentStatus, paymentStatus } from "./order-status.ts";
import { partnerCallback, partnerSnapshot, quote, quotedLine, webhookDelivery } from "./partners.ts";
import { dispute, refundState } from "./payments.ts";
import {
  array,
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
  positiveMoney,
  stored,
  storedMoney,
  stringRecord,
  text,
  time,
  uuid,
  version,
} from "./schema.ts";
import { address, givenAddress, orderNumber, phone, position } from "./shared.ts";

const reason = text(500);
/** A number of attempts. */
const tries = integer(0, 2 ** 31 - 1);

export { type OrderStatus, orderStatus, type PaymentStatus, paymentStatus };

export const orderCustomer = stored(object({ id: uuid, name: text(200), phone: optional(phone) }));

/** Why partner staff reject an order. */
export const rejectionReason = oneOf("out_of_stock", "too_busy", "closing", "wish_not_possible", "other");
export type RejectionReason = Infer<typeof rejectionReason>;

/** The rejection of an order by partner staff or an operator. */
export const rejection = object({
  reason: rejectionReason,
  /** A message of the staff to the customer. */
  text: optional(stored(reason)),
  /** The products of the order that are out of stock. */
  outOfStock: listOf(uuid),
});
export type Rejection = Infer<typeof rejection>;

const oneStatus = `(?:${orderStatus.values.join("|")})`;
const orderStatuses = matching(
  new RegExp(`^${oneStatus}(?:,${oneStatus}){0,8}$`),
  100,
  "states with commas between them, as ready,delivering",
);

/** Letters and digits that are not mistaken for each other. */
const pickupCode = matching(/^[A-HJKMNP-Z2-9]{8}$/, 8, "the code of a pickup, as 7KX2MPQ4");

/** The order as customers, partner staff, deliverers and operators see it. */
export const order = object({
  id: uuid,
  number: optional(orderNumber),
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
  /** The time at which the order's state ends by itself or raises an alert. */
  deadlineAt: optional(time),
  /** The time that the partner has promised for the order to be ready. */
  readyAt: optional(time),
  reason: optional(reason),
  /** Of an order that was rejected by hand. */
  rejection: optional(rejection),
  /** The photo of the handover, if the partner requires one. */
  proofPhotoId: optional(text(100)),
  /** Four digits that the customer gives to the deliverer; shown to the customer only. */
  pin: optional(matching(/^\d{4}$/, 4, "four digits")),
  /** Opens the public tracking page; shown to the customer only. */
  trackingToken: optional(text(200)),
  /** When the deliverer confirmed the pickup at the partner. */
  pickedUpAt: optional(time),
  /** Confirms the pickup, as the scan of a code; shown to the partner and to operators until the order ends. */
  pickupCode: optional(pickupCode),
  /** When the order was delivered, cancelled or expired. */
  closedAt: optional(time),
  createdAt: time,
  updatedAt: time,
  /** In the list of stuck orders: the reason in words, its name, and since when. */
  stuckBecause: optional(text(1000)),
  stuckCause: optional(diagnosisCause),
  stuckSince: optional(time),
});
export type OrderView = Infer<typeof order>;

export const confirmation = object({
  orderId: uuid,
  number: optional(orderNumber),
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
/** A move of an order as its stream sends it. */
export const orderEvent = object({ ...historyEvent.props, number: optional(orderNumber) });

/** The deliverer's position as shown to users who follow the order. */
export const orderPosition = object({ ...position.props, at: time });

/** A ready order in the deliverers' pool. It contains the area of the destination, but no data of the customer. */
export const poolEntry = object({
  orderId: uuid,
  number: optional(orderNumber),
  partnerId: uuid,
  partnerTitle: text(120),
  pickup: address,
  destination: address,
  fee: storedMoney,
  /** The straight-line distance from the given position to the pickup. */
  distanceMeters: optional(integer(0, 40_100_000)),
  readySince: time,
});

export const receiptOutcome = oneOf("accepted", "underpaid", "overpaid", "late", "unmatched");

/** The party that bears the cost of a refund; `nobody`: the money was the customer's own. */
export const bearer = oneOf("nobody", "partner", "platform");

export const tracking = object({
  status: orderStatus,
  partnerTitle: text(120),
  firstName: text(100),
  position: optional(position),
  positionAt: optional(time),
  updatedAt: time,
});

/** The diagnosis of one order, for operators. */
export const diagnosis = object({
  order,
  history: listOf(historyEvent),
  deadline: optional(
    object({
      at: time,
      overdue: boolean,
      effect: text(200),
      /** The number of failed attempts to apply the deadline, the last error, and the time of the next attempt. */
      failures: optional(integer(1, 2 ** 31 - 1)),
      error: optional(text(500)),
      retryAt: optional(time),
    }),
  ),
  /** Of a paid order: whether its partner was notified. */
  partnerNotice: optional(
    object({
      /** When Orders received the notice's result; the time to accept starts here. Absent: not notified yet. */
      at: optional(time),
      /** The known reason why the partner was not notified. */
      problem: optional(text(500)),
    }),
  ),
  /** Messages about the order that a service has not sent or not handled yet. */
  undelivered: listOf(undeliveredMessage),
  /** The reasons why the order does not go on, the most important first; the last one is what its state waits for. */
  findings: listOf(diagnosisFinding),
  /** The attempts to send the webhooks of the order, the newest first. */
  webhooks: listOf(webhookDelivery),
  /** Services whose part is missing, because they did not answer. */
  notAsked: listOf(notAsked),
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
  /** The polls of the bank for payments whose callback was lost. */
  reconciliation: optional(
    object({
      /** The time of the next poll. Absent: there is none. */
      nextAt: optional(time),
      looks: tries,
      answeredAt: optional(time),
      error: optional(text(500)),
    }),
  ),
});

/** Selects stuck orders that match every given field. */
const stuckFilter = object({
  ...paging,
  cause: optional(diagnosisCause),
  partnerId: optional(uuid),
  /** The partner's city. */
  city: optional(text(100)),
  /** Stuck since this time or longer. */
  before: optional(time),
  /** The groups count by this. Default: cause. */
  by: optional(oneOf("cause", "partner", "city")),
});

const stuckOrders = object({
  ...page(order).props,
  /** Of all stuck orders that match, the largest first: at most 50. */
  groups: listOf(object({ name: text(200), count: tries, oldest: time })),
});

const orderId = { orderId: uuid } as const;
/** When the order will be ready: in minutes from now or as a time, within a day. */
const promise = { readyInMinutes: optional(integer(1, 1_440)), readyAt: optional(time) } as const;
const assign = action(object(orderId), order, { idempotent: true });
const release = action(object({ ...orderId, reason: optional(reason) }), order, { idempotent: true });

/**
 * Actions that version 0.1 named differently. The former names stay available: gRPC clients call them, and so do
 * processes of that version during an upgrade.
 */
export const formerNames = { "orders.assign": "orders.claim", "orders.release": "orders.unclaim" } as const;

export const ordersActions = {
  /**
   * For the gateway, which takes the quote from its cache of checks. A repeat is safe, but the deadline of the request
   * allows one attempt with Partners and the bank only, so the client has to repeat it.
   */
  "orders.confirm": action(object({ bankId: uuid, quote, customer: orderCustomer }), confirmation),
  /** For the gateway: a repeated confirmation whose check is no longer in the cache. */
  "orders.reopenCheckout": action(object({ ...orderId, bankId: uuid }), confirmation),
  /** The raw callback of a bank, verified by the bank's adapter. Answers after the commit. */
  "orders.receivePayment": action(
    object({ bankId: uuid, headers: stringRecord, body: { type: "string", max: 65_536 } as const }),
    nothing,
    { idempotent: true },
  ),
  /** For Partners: a verified callback of the partner's system. Commits the callback with its effect. */
  "orders.applyPartnerCallback": action(partnerCallback, nothing, { idempotent: true }),
  /** For Partners, which reads the present state before it acts on an old message. Absent: there is no such order. */
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
  "orders.list": action(
    object({
      ...paging,
      status: optional(orderStatus),
      /** Several states, with commas between them. */
      statuses: optional(orderStatuses),
      paymentStatus: optional(paymentStatus),
      partnerId: optional(uuid),
      customerId: optional(uuid),
      delivererId: optional(uuid),
      /** Confirmed at this time or later. */
      from: optional(time),
      /** Confirmed before this time. */
      to: optional(time),
      /** For admins and partner staff: words that begin words of the customer's name or phone number. */
      q: optional(text(100, 3)),
      /** For admins: the orders of this user, as customer or as deliverer. */
      userId: optional(uuid),
    }),
    page(order),
    { idempotent: true },
  ),
  "orders.history": action(
    object(orderId),
    object({ number: optional(orderNumber), items: listOf(historyEvent) }),
    { idempotent: true },
  ),
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
  // Partner staff do by hand what the partner's system reports by signed callbacks.
  /** Default of the promised time: after the partner's usual preparation time. */
  "orders.accept": action(object({ ...orderId, ...promise }), order, { idempotent: true }),
  "orders.delay": action(object({ ...orderId, ...promise, reason: optional(reason) }), order, {
    idempotent: true,
  }),
  "orders.makeReady": action(object(orderId), order, { idempotent: true }),
  /** `outOfStock`: products of the order whose stock becomes 0. */
  "orders.reject": action(
    object({
      ...orderId,
      reason: rejectionReason,
      text: optional(reason),
      outOfStock: optional(array(uuid, { max: 50 })),
    }),
    order,
    { idempotent: true },
  ),
  "orders.available": action(
    object({
      latitude: optional({ ...decimal(-90, 90), convert: true } as const),
      longitude: optional({ ...decimal(-180, 180), convert: true } as const),
      limit: paging.limit,
    }),
    object({ items: listOf(poolEntry) }),
    { idempotent: true },
  ),
  /** The order that is offered to the caller now, in a list. `orders.assign` accepts an offer. */
  "orders.offers": action(
    object({}),
    object({ items: listOf(object({ ...poolEntry.props, offerUntil: time })) }),
    { idempotent: true },
  ),
  "orders.decline": action(object(orderId), nothing, { idempotent: true }),
  "orders.assign": assign,
  "orders.release": release,
  [formerNames["orders.assign"]]: assign,
  [formerNames["orders.release"]]: release,
  "orders.reportLocation": action(
    /** `at`: the time of the position by the device. A position older than the stored one has no effect. */
    object({ ...orderId, position, at: optional(time) }),
    nothing,
    { idempotent: true },
  ),
  /** `code`: the number of the order, as K7-042, or its pickup code. */
  "orders.pickUp": action(object({ ...orderId, code: text(20) }), order, { idempotent: true }),
  /** The broker does not repeat it, because every call with a wrong PIN counts. */
  "orders.deliver": action(
    object({ ...orderId, pin: matching(/^\d{4}$/, 4, "four digits"), photoId: optional(text(100)) }),
    order,
  ),
  "orders.fail": action(object({ ...orderId, reason }), order, { idempotent: true }),
  "orders.track": action(object({ token: text(200) }), tracking, { idempotent: true }),

  "orders.refund": action(object({ ...orderId, amount: optional(positiveMoney), reason }), order),
  /** `courier`: words that begin words of the name, the address or the phone number of one courier, in place of the id. */
  "orders.reassign": action(
    object({ ...orderId, delivererId: optional(uuid), courier: optional(text(100, 3)), reason }),
    order,
  ),
  "orders.override": action(object({ ...orderId, to: orderStatus, reason }), order),
  "orders.diagnosis": action(object(orderId), diagnosis, { idempotent: true }),
  /** Orders that wait for an operator, the first confirmed first, and their numbers in groups. */
  "orders.stuck": action(stuckFilter, stuckOrders, {
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
