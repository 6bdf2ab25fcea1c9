import type { ServiceSchema } from "moleculer";
import { implement } from "../../contracts/actions.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { deliveryTokens } from "../../lib/delivery-tokens.ts";
import { keyedLimit } from "../../lib/keyed-limit.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { documentGauges } from "../../mixins/documents/gauges.ts";
import { documentStoreLocation } from "../../mixins/documents/store-location.ts";
import { health, leftOut } from "../../mixins/health/health.mixin.ts";
import { nodeDependencies } from "../../mixins/node-dependencies/node-dependencies.mixin.ts";
import { outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { pruning } from "../../mixins/pruning/pruning.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { givenDeliverer, photoExists, requireDeliverer } from "./actions/access.ts";
import { getAssignment, setAssignment } from "./actions/assignments.ts";
import { banks, createBank, updateBank } from "./actions/banks.ts";
import * as byHand from "./actions/by-hand.ts";
import { checkoutGate } from "./actions/checkout-gate.ts";
import * as commands from "./actions/commands.ts";
import { confirmOrder, reopenCheckout } from "./actions/confirm.ts";
import * as couriers from "./actions/couriers.ts";
import * as deliveries from "./actions/deliveries.ts";
import { diagnose } from "./actions/diagnosis.ts";
import { listDisputes } from "./actions/disputes.ts";
import { exportOrders } from "./actions/exports.ts";
import { applyPartnerCallback } from "./actions/partner-callback.ts";
import { receivePayment } from "./actions/payment-callback.ts";
import * as queries from "./actions/queries.ts";
import * as unmatched from "./actions/unmatched-payments.ts";
import type { OrdersDependencies } from "./dependencies.ts";
import { liveUpdates } from "./projections/live-updates.ts";
import { orderProjections, projectionHandlers } from "./projections/projections.ts";
import { countOnDuty } from "./store/couriers.repository.ts";
import { countOrders } from "./store/order-lists.repository.ts";
import { countOverduePolls } from "./store/reconciliation.repository.ts";
import { eventLog, readEvents } from "./use-cases/event-log.ts";
import { type ReadDependencies, shownOrderReader } from "./use-cases/shown-orders.ts";
import { accountHandlers } from "./workers/account-events.ts";
import { applyDeadlines } from "./workers/deadlines.ts";
import { endForgottenDuties } from "./workers/duties.ts";
import { eraseCustomers } from "./workers/erasure.ts";
import { eventLogHandlers } from "./workers/event-log-events.ts";
import { makeOffers } from "./workers/offers.ts";
import { noticeHandlers } from "./workers/partner-notice-events.ts";
import { reconcilePayments, reconciliationCounts } from "./workers/reconciliation.ts";
import { processRefunds } from "./workers/refunds.ts";
import { orderRetentions } from "./workers/retention.ts";

const REFUND_INTERVAL_MS = 1_000;
const DEADLINE_INTERVAL_MS = 1_000;
const RECONCILE_INTERVAL_MS = 5_000;
const OFFER_INTERVAL_MS = 1_000;
const DUTY_INTERVAL_MS = 60_000;
const ERASE_INTERVAL_MS = 300_000;
const MINUTE_MS = 60_000;
/** A poll that is overdue by more than this is counted in the gauge `reconciliation_overdue`. */
const POLL_LATE_MS = 60_000;
/** The share of the database connections that concurrent changes of one order may use. */
const CONNECTIONS_PER_ORDER = 0.2;

export interface OrdersServiceDeps {
  config: Settings;
  messageBus: MessageBus;
  clock?: Clock;
  /** The interval of the deadline, refund, offer and duty workers. Default: 1,000 ms, for duties a minute. */
  sweepIntervalMs?: number;
  /** The interval of the payment reconciliation. Default: 5,000 ms. */
  reconcileIntervalMs?: number;
  /** The interval of the erasure of deleted customers from ended orders. Default: 300,000 ms. */
  eraseIntervalMs?: number;
}

/** Orders from the confirmed check to the handover, with their payments, refunds and deadlines. */
export function ordersService(options: OrdersServiceDeps): ServiceSchema {
  const { config, messageBus, clock = systemClock } = options;

  const db = postgres({
    url: config.POSTGRES_URL_ORDERS,
    poolSize: config.POSTGRES_POOL,
    acquireTimeoutMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    name: "orders",
  });
  const out = outbox({ postgres: db, messageBus, source: "waybill/orders", clock });
  const projections = orderProjections(db, documentStoreLocation(config, config.POSTGRES_URL_ORDERS));
  const live = liveUpdates();
  const deps: OrdersDependencies = {
    clock,
    postgres: db,
    outbox: out,
    live,
    banks: banks({
      postgres: db,
      keys: { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS },
      environment: { stripeApiUrl: config.STRIPE_API_URL },
    }),
    checkouts: checkoutGate(clock),
    orderConnections: keyedLimit({
      atOnce: Math.max(1, Math.floor(config.POSTGRES_POOL * CONNECTIONS_PER_ORDER)),
      waitMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    }),
    deliveryTokens: deliveryTokens(config.HANDOVER_SECRET),
    offersOrders: config.ASSIGNMENT === "offer",
    offerMs: config.OFFER_SECONDS * 1_000,
    offerCounts: { accepted: 0, declined: 0, expired: 0, pooled: 0 },
    courierOrdersMax: config.COURIER_ORDERS_MAX,
    courierSeesPhone: config.COURIER_SEES_PHONE === "delivering",
    courierNearMeters: config.COURIER_NEAR_METERS,
    supportRefundMaxMinor: config.SUPPORT_REFUND_MAX_MINOR,
    deliveredVisibleMs: config.DELIVERED_VISIBLE_MINUTES * MINUTE_MS,
    partnerVisibleMs: config.PARTNER_SEES_CUSTOMER_HOURS * 60 * MINUTE_MS,
    encryptionKeys: { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS },
    publicUrl: config.PUBLIC_URL,
    brokerReady: () => messageBus.ready().catch(() => false),
    wakeRefunds: () => refunds.wake(),
  };

  const reads: ReadDependencies = { ...deps, readShown: shownOrderReader(db) };

  const refunds = timer({
    name: "refunds",
    intervalMs: options.sweepIntervalMs ?? REFUND_INTERVAL_MS,
    run: (stopping, logger) => processRefunds(deps, logger, stopping),
  });
  const deadlines = timer({
    name: "deadlines",
    intervalMs: options.sweepIntervalMs ?? DEADLINE_INTERVAL_MS,
    run: (stopping, logger) => applyDeadlines(deps, logger, stopping),
  });
  const offers = timer({
    name: "offers",
    intervalMs: options.sweepIntervalMs ?? OFFER_INTERVAL_MS,
    run: (stopping, logger) => makeOffers(deps, logger, stopping),
  });
  const duties = timer({
    name: "duties",
    intervalMs: options.sweepIntervalMs ?? DUTY_INTERVAL_MS,
    run: (stopping) => endForgottenDuties(deps, stopping),
  });
  const counts = reconciliationCounts();
  const reconciliation = timer({
    name: "reconciliation",
    intervalMs: options.reconcileIntervalMs ?? RECONCILE_INTERVAL_MS,
    run: (stopping, logger) => reconcilePayments(deps, logger, counts, stopping),
  });
  const erasures = timer({
    name: "erasures",
    intervalMs: options.eraseIntervalMs ?? ERASE_INTERVAL_MS,
    run: (stopping, logger) => eraseCustomers(deps, logger, stopping),
  });
  const log = eventLog(deps);
  const inbox = consumer({
    ...{ postgres: db, messageBus, group: "orders", clock, outbox: out },
    handlers: {
      ...projectionHandlers(projections, live, log),
      ...eventLogHandlers(log),
      ...accountHandlers(deps, erasures.wake),
      ...noticeHandlers(deps),
    },
  });
  const pruner = pruning({
    ...{ postgres: db, clock, keepDeadLettersDays: config.KEEP_DEAD_LETTERS_DAYS },
    retentions: orderRetentions(config, projections),
  });
  const healthChecks = health({
    checks: { postgres: () => db.ping(), documents: () => projections.history.ready() },
    outbox: out,
    inbox,
    degradations: {
      banks: () => leftOut("not asked for checkouts after failures", deps.checkouts.refusedBanks()),
    },
    gauges: {
      ...pruner.gauges,
      ...documentGauges([projections.history, projections.payments], inbox),
      orders_open: {
        about: "Orders that have not ended.",
        label: "status",
        read: () => countOrders(db.db),
      },
      courier_offers_total: {
        about: "Offers of orders to couriers, by outcome.",
        label: "outcome",
        read: () => deps.offerCounts,
      },
      couriers_on_duty: { about: "Couriers on duty.", read: () => countOnDuty(db.db) },
      reconciliation_overdue: {
        about: "Orders whose poll of the bank is overdue by a minute or more.",
        read: () => countOverduePolls(db.db, POLL_LATE_MS),
      },
      bank_polls_total: {
        about: "Polls of banks about orders, by outcome.",
        label: "outcome",
        read: () => counts,
      },
    },
  });

  return {
    name: "orders",
    grpc: { proto: "waybill/orders/v1/orders.proto", service: "waybill.orders.v1.Orders" },
    mixins: [
      db.mixin,
      live.mixin,
      projections.history.mixin,
      projections.payments.mixin,
      out.mixin,
      inbox.mixin,
      refunds.mixin,
      deadlines.mixin,
      offers.mixin,
      duties.mixin,
      reconciliation.mixin,
      erasures.mixin,
      pruner.mixin,
      healthChecks.mixin,
    ],

    actions: {
      confirm: implement("orders.confirm", (ctx) => confirmOrder(deps, ctx)),
      reopenCheckout: implement("orders.reopenCheckout", (ctx) => reopenCheckout(deps, ctx)),
      receivePayment: implement("orders.receivePayment", (ctx) => receivePayment(deps, ctx)),
      // For Partners, which has verified the callback: not available through the gateway.
      applyPartnerCallback: implement(
        "orders.applyPartnerCallback",
        (ctx) => applyPartnerCallback(deps, ctx.params),
        { visibility: "public" },
      ),

      // For Identity: not available through the gateway.
      openOf: implement("orders.openOf", (ctx) => queries.openOf(deps, callerOf(ctx).id), {
        visibility: "public",
      }),
      // For Partners: not available through the gateway.
      state: implement("orders.state", ({ params }) => queries.stateOf(deps, params.orderId), {
        visibility: "public",
      }),

      // For Identity: not available through the gateway.
      exportPage: implement("orders.exportPage", (ctx) => exportOrders(deps, ctx), { visibility: "public" }),
      // For the gateway, which feeds streams from it: not available to clients.
      events: implement("orders.events", ({ params }) => readEvents(deps, params), { visibility: "public" }),

      get: implement("orders.get", (ctx) => queries.getOrder(reads, ctx)),
      list: implement("orders.list", (ctx) => queries.listOwnOrders(deps, ctx)),
      history: implement("orders.history", (ctx) => queries.getHistory(reads, projections, ctx)),
      update: implement("orders.update", (ctx) => commands.updateOrder(deps, ctx)),
      cancel: implement("orders.cancel", (ctx) => commands.cancelOrder(deps, ctx)),

      accept: implement("orders.accept", (ctx) => byHand.acceptOrder(deps, ctx)),
      delay: implement("orders.delay", (ctx) => byHand.delayOrder(deps, ctx)),
      makeReady: implement("orders.makeReady", (ctx) => byHand.makeOrderReady(deps, ctx)),
      reject: implement("orders.reject", (ctx) => byHand.rejectOrder(deps, ctx)),

      available: implement("orders.available", (ctx) => deliveries.availableOrders(deps, ctx)),
      assign: implement("orders.assign", (ctx) => deliveries.assignOrder(deps, ctx)),
      release: implement("orders.release", (ctx) => deliveries.releaseOrder(deps, ctx)),
      // The former names of assign and release.
      claim: implement("orders.claim", (ctx) => deliveries.assignOrder(deps, ctx)),
      unclaim: implement("orders.unclaim", (ctx) => deliveries.releaseOrder(deps, ctx)),
      reportLocation: implement("orders.reportLocation", (ctx) => deliveries.reportLocation(deps, ctx)),
      deliver: implement("orders.deliver", async (ctx) =>
        deliveries.deliverOrder(deps, ctx, await photoExists(ctx)),
      ),
      pickUp: implement("orders.pickUp", (ctx) => deliveries.pickUpOrder(deps, ctx)),
      fail: implement("orders.fail", (ctx) => deliveries.failOrder(deps, ctx)),
      offers: implement("orders.offers", (ctx) => deliveries.listOffers(deps, ctx)),
      decline: implement("orders.decline", (ctx) => deliveries.declineOrder(deps, ctx)),
      duty: implement("orders.duty", (ctx) => couriers.getDuty(deps, ctx)),
      setDuty: implement("orders.setDuty", (ctx) => couriers.setDuty(deps, ctx)),
      reportPosition: implement("orders.reportPosition", (ctx) => couriers.reportPosition(deps, ctx)),
      assignment: implement("orders.assignment", (ctx) => getAssignment(deps, ctx)),
      setAssignment: implement("orders.setAssignment", (ctx) => setAssignment(deps, ctx)),
      couriers: implement("orders.couriers", (ctx) => couriers.listCouriers(deps, ctx)),
      setCourierCapacity: implement("orders.setCourierCapacity", async (ctx) => {
        await requireDeliverer(ctx, ctx.params.courierId, "courierId");
        return couriers.setCourierCapacity(deps, ctx);
      }),
      track: implement("orders.track", (ctx) => queries.track(deps, ctx)),

      refund: implement("orders.refund", (ctx) => commands.refundOrder(deps, ctx)),
      reassign: implement("orders.reassign", async (ctx) => {
        return commands.reassignOrder(deps, ctx, await givenDeliverer(ctx));
      }),
      override: implement("orders.override", (ctx) => commands.overrideOrder(deps, ctx)),
      diagnosis: implement("orders.diagnosis", (ctx) => diagnose(deps, ctx)),
      stuck: implement("orders.stuck", (ctx) => queries.listStuck(deps, ctx)),

      listUnmatched: implement("orders.listUnmatched", (ctx) => unmatched.listUnmatched(deps, ctx)),
      refundPayment: implement("orders.refundPayment", (ctx) => unmatched.refundPayment(deps, ctx)),
      assignPayment: implement("orders.assignPayment", (ctx) => unmatched.assignPayment(deps, ctx)),
      retryRefund: implement("orders.retryRefund", (ctx) => unmatched.retryRefund(deps, ctx)),
      listDisputes: implement("orders.listDisputes", (ctx) => listDisputes(deps, ctx)),

      listBanks: implement("orders.listBanks", async (ctx) => deps.banks.list(callerOf(ctx))),
      createBank: implement("orders.createBank", (ctx) => createBank(deps, ctx)),
      updateBank: implement("orders.updateBank", (ctx) => updateBank(deps, ctx)),
    },
  };
}

/** For Moleculer's runner and REPL, and for our launcher. */
export default {
  name: "orders",
  mixins: [nodeDependencies("orders", ordersService)],
} satisfies ServiceSchema;
