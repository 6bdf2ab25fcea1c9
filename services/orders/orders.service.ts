import type { ServiceSchema } from "moleculer";
import { implement } from "../../contracts/actions.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { keyedLimit } from "../../lib/keyed-limit.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { documentGauges, documentStore } from "../../mixins/documents/store-of-settings.ts";
import { health, leftOut } from "../../mixins/health/health.mixin.ts";
import { audit, fieldsOf } from "../../mixins/outbox/audit.ts";
import { outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { idempotent } from "../../mixins/postgres/idempotency.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { pruning } from "../../mixins/pruning/pruning.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { banks } from "./actions/banks.ts";
import { checkoutGate } from "./actions/checkout-gate.ts";
import * as changing from "./actions/commands.ts";
import { confirmOrder, reopenCheckout } from "./actions/confirm.ts";
import * as deliveries from "./actions/deliveries.ts";
import { deliveryTokens } from "./actions/delivery-tokens.ts";
import { listDisputes } from "./actions/disputes.ts";
import { photoIsThere, requireDeliverer } from "./actions/lookups.ts";
import { applyPartnerCallback } from "./actions/partner-callback.ts";
import { receivePayment } from "./actions/payment-callback.ts";
import * as reading from "./actions/queries.ts";
import * as unmatched from "./actions/unmatched-payments.ts";
import type { OrdersDependencies } from "./dependencies.ts";
import { live } from "./projections/live-updates.ts";
import { orderProjections, projectionHandlers } from "./projections/projections.ts";
import { countOrders } from "./store/order-lists.repository.ts";
import { countOverduePolls } from "./store/reconciliation.repository.ts";
import { accountHandlers } from "./workers/account-events.ts";
import { deadlineSweep } from "./workers/deadlines.ts";
import { sweepErasures } from "./workers/erasure.ts";
import { noticeHandlers } from "./workers/partner-notice-events.ts";
import { reconciler, reconciliationCounts } from "./workers/reconciliation.ts";
import { refundWorker } from "./workers/refunds.ts";
import { orderRetentions } from "./workers/retention.ts";

const SWEEP_INTERVAL_MS = 1_000;
const RECONCILE_INTERVAL_MS = 5_000;
const LOOK_LATE_MS = 60_000;
/** The part of the connections to the database that the changes of one order may take. */
const ORDER_SHARE = 0.2;
const ERASE_INTERVAL_MS = 300_000;

export interface OrdersServiceDeps {
  config: Settings;
  messageBus: MessageBus;
  clock?: Clock;
  /** How often deadlines and refunds are looked for. */
  sweepIntervalMs?: number;
  /** How often orders are looked for whose bank has to be asked. */
  reconcileIntervalMs?: number;
  /** How often ended orders are looked for whose customer was erased meanwhile. */
  eraseIntervalMs?: number;
}

/** Orders from the confirmed check to the handover, with their payments, refunds and deadlines. */
export function ordersService(options: OrdersServiceDeps): ServiceSchema {
  const { config, messageBus, clock = systemClock, sweepIntervalMs = SWEEP_INTERVAL_MS } = options;
  const { reconcileIntervalMs = RECONCILE_INTERVAL_MS } = options;
  const db = postgres({
    url: config.POSTGRES_URL_ORDERS,
    poolSize: config.POSTGRES_POOL,
    acquireTimeoutMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    name: "orders",
  });
  const out = outbox({ postgres: db, messageBus, source: "waybill/orders", clock });
  const projections = orderProjections(db, documentStore(config, config.POSTGRES_URL_ORDERS));
  const watchers = live();
  const deps: OrdersDependencies = {
    clock,
    postgres: db,
    outbox: out,
    live: watchers,
    banks: banks({
      postgres: db,
      keys: { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS },
      environment: { stripeApiUrl: config.STRIPE_API_URL },
    }),
    checkouts: checkoutGate(clock),
    orderConnections: keyedLimit({
      atOnce: Math.max(1, Math.floor(config.POSTGRES_POOL * ORDER_SHARE)),
      waitMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    }),
    deliveryTokens: deliveryTokens(config.HANDOVER_SECRET),
    deliveredVisibleMs: config.DELIVERED_VISIBLE_MINUTES * 60_000,
    publicUrl: config.PUBLIC_URL,
    wakeRefunds: () => refunds.wake(),
  };
  const refunds = timer({
    name: "refunds",
    intervalMs: sweepIntervalMs,
    run: refundWorker(deps, () => watchers.logger),
  });
  const deadlines = timer({
    name: "deadlines",
    intervalMs: sweepIntervalMs,
    run: deadlineSweep(deps, () => watchers.logger),
  });
  const looks = reconciliationCounts();
  const reconciliation = timer({
    name: "reconciliation",
    intervalMs: reconcileIntervalMs,
    run: reconciler(deps, () => watchers.logger, looks),
  });
  const inbox = consumer({
    ...{ postgres: db, messageBus, group: "orders", clock, outbox: out },
    handlers: {
      ...projectionHandlers(projections, watchers),
      ...accountHandlers(deps, () => erasures.wake()),
      ...noticeHandlers(deps),
    },
  });
  const erasures = timer({
    name: "erasures",
    intervalMs: options.eraseIntervalMs ?? ERASE_INTERVAL_MS,
    run: (stopping) => sweepErasures(deps, watchers.logger, stopping),
  });
  const pruner = pruning({
    ...{ postgres: db, clock, keepDeadLettersDays: config.KEEP_DEAD_LETTERS_DAYS },
    retentions: orderRetentions(config, projections),
  });
  const byState = {
    about: "Orders that have not ended.",
    label: "status",
    read: () => countOrders(db.db),
  };

  return {
    name: "orders",
    grpc: { proto: "waybill/orders/v1/orders.proto", service: "waybill.orders.v1.Orders" },
    mixins: [
      db.mixin,
      watchers.mixin,
      projections.history.mixin,
      projections.payments.mixin,
      out.mixin,
      inbox.mixin,
      refunds.mixin,
      deadlines.mixin,
      reconciliation.mixin,
      erasures.mixin,
      pruner.mixin,
      health({
        checks: { postgres: () => db.ping(), documents: () => projections.history.ready() },
        outbox: out,
        inbox,
        degradations: {
          banks: () => leftOut("not asked for checkouts after failures", deps.checkouts.closed()),
        },
        gauges: {
          ...documentGauges([projections.history, projections.payments], inbox),
          orders_open: byState,
          reconciliation_overdue: {
            about: "Orders whose bank should have been asked a minute ago or longer.",
            read: () => countOverduePolls(db.db, LOOK_LATE_MS),
          },
          reconciliation_looks: {
            about: "What asking the banks has come to since this process started.",
            label: "outcome",
            read: () => looks,
          },
        },
      }).mixin,
    ],

    actions: {
      confirm: implement("orders.confirm", (ctx) => confirmOrder(deps, ctx)),
      reopenCheckout: implement("orders.reopenCheckout", (ctx) => reopenCheckout(deps, ctx)),
      receivePayment: implement("orders.receivePayment", (ctx) => receivePayment(deps, ctx)),
      // For Partners, which has verified it: never published by the gateway.
      applyPartnerCallback: implement(
        "orders.applyPartnerCallback",
        (ctx) => applyPartnerCallback(deps, ctx.params),
        { visibility: "public" },
      ),

      // For Identity: never published by the gateway.
      openOf: implement("orders.openOf", (ctx) => reading.openOf(deps, callerOf(ctx).id), {
        visibility: "public",
      }),
      // For Partners: never published by the gateway.
      state: implement("orders.state", ({ params }) => reading.stateOf(deps, params.orderId), {
        visibility: "public",
      }),

      get: implement("orders.get", (ctx) => reading.getOrder(deps, ctx)),
      list: implement("orders.list", (ctx) => reading.listOwnOrders(deps, ctx)),
      history: implement("orders.history", (ctx) => reading.getHistory(deps, projections, ctx)),
      update: implement("orders.update", (ctx) => changing.updateOrder(deps, ctx)),
      cancel: implement("orders.cancel", (ctx) => changing.cancelOrder(deps, ctx)),

      available: implement("orders.available", (ctx) => deliveries.availableOrders(deps, ctx)),
      claim: implement("orders.claim", (ctx) => deliveries.assignOrder(deps, ctx)),
      unclaim: implement("orders.unclaim", (ctx) => deliveries.releaseOrder(deps, ctx)),
      reportLocation: implement("orders.reportLocation", (ctx) => deliveries.reportLocation(deps, ctx)),
      deliver: implement("orders.deliver", async (ctx) =>
        deliveries.deliverOrder(deps, ctx, await photoIsThere(ctx)),
      ),
      fail: implement("orders.fail", (ctx) => deliveries.failOrder(deps, ctx)),
      track: implement("orders.track", (ctx) => reading.track(deps, ctx)),

      refund: implement("orders.refund", (ctx) => changing.refundOrder(deps, ctx)),
      reassign: implement("orders.reassign", async (ctx) => {
        await requireDeliverer(ctx);
        return changing.reassignOrder(deps, ctx);
      }),
      override: implement("orders.override", (ctx) => changing.overrideOrder(deps, ctx)),
      diagnosis: implement("orders.diagnosis", (ctx) => reading.diagnose(deps, inbox, ctx)),
      stuck: implement("orders.stuck", (ctx) => reading.listStuck(deps, ctx)),

      listUnmatched: implement("orders.listUnmatched", (ctx) => unmatched.listUnmatched(deps, ctx)),
      refundPayment: implement("orders.refundPayment", (ctx) => unmatched.refundPayment(deps, ctx)),
      assignPayment: implement("orders.assignPayment", (ctx) => unmatched.assignPayment(deps, ctx)),
      retryRefund: implement("orders.retryRefund", (ctx) => unmatched.retryRefund(deps, ctx)),
      listDisputes: implement("orders.listDisputes", (ctx) => listDisputes(deps, ctx)),

      listBanks: implement("orders.listBanks", async (ctx) => deps.banks.list(callerOf(ctx))),
      createBank: implement("orders.createBank", async (ctx) => {
        callerOf(ctx, "admin");
        return idempotent(db, ctx, "orders.createBank", async (trx) => {
          const bank = await deps.banks.create(trx, ctx.params);
          await audit(out, trx, ctx, bank.id);
          return bank;
        });
      }),
      updateBank: implement("orders.updateBank", async (ctx) => {
        callerOf(ctx, "admin");
        return db.transact(async (trx) => {
          const bank = await deps.banks.update(trx, ctx.params);
          await audit(out, trx, ctx, bank.id, fieldsOf(ctx.params));
          return bank;
        });
      }),
    },
  };
}
