import type { ServiceBroker, ServiceSchema } from "moleculer";
import { call, implement } from "../../contracts/actions.ts";
import { optional, uuid } from "../../contracts/schema.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { keyedLimit } from "../../lib/keyed-limit.ts";
import type { GuardOptions } from "../../lib/net/guarded-request.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { type Caching, caching } from "../../mixins/caching/caching.mixin.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { health } from "../../mixins/health/health.mixin.ts";
import { nodeDependencies } from "../../mixins/node-dependencies/node-dependencies.mixin.ts";
import { type Outbox, outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { idempotent } from "../../mixins/postgres/idempotency.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { pruning } from "../../mixins/pruning/pruning.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { adminOf, managerOf } from "./actions/access.ts";
import { check } from "./actions/check.ts";
import { deadLetterActions } from "./actions/dead-letters.ts";
import { receiveCallback } from "./actions/partner-callback.ts";
import * as partners from "./actions/partners.ts";
import * as products from "./actions/products.ts";
import { release, reserve } from "./actions/reservations.ts";
import * as endpoint from "./actions/webhook-endpoint.ts";
import type { OrderState } from "./dependencies.ts";
import { countWebhooks } from "./store/webhook-deliveries.repository.ts";
import { orderHandlers } from "./workers/order-events.ts";
import { SWEEP_GRACE_MS, sweepReservations } from "./workers/reservations.ts";
import { partnerRetentions } from "./workers/retention.ts";
import { reindexProducts } from "./workers/search-reindex.ts";
import { type SenderOptions, webhookSender } from "./workers/webhook-sender.ts";

/** No message reports a change of stock. A cached list may show it this much later; a gateway's cache adds 5 s. */
const FRONT_PAGE_TTL_SECONDS = 25;
const SWEEP_INTERVAL_MS = 30_000;
/** During an update, processes of an earlier release may still write search words of an earlier version. */
const REINDEX_INTERVAL_MS = 60_000;
/** Limits how many database connections the orders of one partner use, so that a popular product does not block others. */
const PARTNER_SHARE = 0.4;
const ORDERS_TIMEOUT_MS = 700;

export interface PartnersServiceDeps {
  config: Settings;
  messageBus: MessageBus;
  clock?: Clock;
  /** Resolves the host names of partners' systems. Default: DNS. */
  resolve?: GuardOptions["resolve"];
  /** Limits and schedule of webhook attempts. Default: those of the webhook sender. */
  webhooks?: Pick<SenderOptions, "limits" | "schedule">;
  /** Interval of the reservation sweep, and how long after its expiry a reservation still waits for its order. */
  sweep?: { intervalMs: number; graceMs: number };
}

/** The service of partners: catalogue, stock, webhooks to their systems, and callbacks from their systems. */
export function partnersService(deps: PartnersServiceDeps): ServiceSchema {
  const { config, messageBus, clock = systemClock, webhooks = {} } = deps;
  const sweep = deps.sweep ?? { intervalMs: SWEEP_INTERVAL_MS, graceMs: SWEEP_GRACE_MS };
  const db = postgres({
    url: config.POSTGRES_URL_PARTNERS,
    poolSize: config.POSTGRES_POOL,
    acquireTimeoutMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    name: "partners",
  });
  const out = outbox({ postgres: db, messageBus, source: "waybill/partners", clock });
  const keys = { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS };
  const guard = { allowLoopback: config.SANDBOX, ...(deps.resolve && { resolve: deps.resolve }) };
  const frontPage = caching([products.FRONT_PAGE]);
  const perPartner = keyedLimit({
    atOnce: Math.max(1, Math.floor(config.POSTGRES_POOL * PARTNER_SHARE)),
    waitMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
  });
  const work = { postgres: db, outbox: invalidatingOutbox(out, frontPage), clock, perPartner, guard, keys };
  let broker: ServiceBroker | undefined;
  const orderState: OrderState = async (orderId) => {
    if (!broker) throw new Error("the service has not started");
    return (await call(broker, "orders.state", { orderId }, { timeout: ORDERS_TIMEOUT_MS })).state;
  };
  const sender = webhookSender({ ...work, ...webhooks });
  const inbox = consumer({
    ...{ postgres: db, messageBus, group: "partners", clock, outbox: out },
    handlers: orderHandlers({ outbox: out, orderState, sender, publicUrl: config.PUBLIC_URL }),
  });
  const sweeper = timer({
    name: "reservation sweep",
    intervalMs: sweep.intervalMs,
    run: (stopping) => sweepReservations({ ...work, orderState }, sweep.graceMs, stopping),
  });
  const pruner = pruning({
    ...{ postgres: db, clock, keepDeadLettersDays: config.KEEP_DEAD_LETTERS_DAYS },
    retentions: partnerRetentions(config.KEEP_DEAD_LETTERS_DAYS),
  });
  const reindexer = timer({
    name: "search reindex",
    intervalMs: REINDEX_INTERVAL_MS,
    run: (stopping) => reindexProducts(work, stopping),
  });

  const webhooksByState = {
    about: "Webhooks to partners' systems: pending attempts, and dead letters.",
    label: "state",
    read: () => countWebhooks(db.db),
  };

  return {
    name: "partners",
    created() {
      broker = this.broker;
    },
    grpc: { proto: "waybill/partners/v1/partners.proto", service: "waybill.partners.v1.Partners" },
    mixins: [
      frontPage.mixin,
      ...[db.mixin, out.mixin, inbox.mixin, sender.mixin, sweeper.mixin, reindexer.mixin, pruner.mixin],
      health({
        checks: { postgres: () => db.ping() },
        outbox: out,
        inbox,
        degradations: { webhooks: sender.saturated },
        gauges: { partner_webhooks: webhooksByState },
      }).mixin,
    ],
    actions: {
      list: implement("partners.list", (ctx) => partners.list(work, ctx)),
      get: implement("partners.get", (ctx) => partners.get(work, ctx)),
      create: implement("partners.create", async (ctx) => {
        callerOf(ctx, "admin");
        return await idempotent(db, ctx, "partners.create", (trx) => partners.create(work, trx, ctx));
      }),
      update: implement("partners.update", (ctx) => partners.update(work, ctx)),
      setHours: implement("partners.setHours", (ctx) => partners.setHours(work, ctx)),
      setBusy: implement("partners.setBusy", (ctx) => partners.setBusy(work, ctx)),

      frontPage: {
        visibility: "protected",
        params: { $$strict: true, partnerId: optional(uuid) },
        cache: { keys: ["partnerId"], ttl: FRONT_PAGE_TTL_SECONDS },
        handler: (ctx) => products.offersPage(work, ctx.params, false),
      },
      listOffers: implement("partners.listOffers", (ctx) => products.listOffers(work, ctx)),
      createProduct: implement("partners.createProduct", async (ctx) => {
        managerOf(ctx);
        const once = idempotent(db, ctx, "partners.createProduct", (trx) =>
          products.createProduct(work, trx, ctx),
        );
        return await once;
      }),
      updateProduct: implement("partners.updateProduct", (ctx) => products.updateProduct(work, ctx)),
      deleteProduct: implement("partners.deleteProduct", (ctx) => products.deleteProduct(work, ctx)),
      getAvailability: implement("partners.getAvailability", (ctx) => products.getAvailability(work, ctx)),
      setAvailability: implement("partners.setAvailability", async (ctx) => {
        managerOf(ctx);
        return await idempotent(db, ctx, "partners.setAvailability", (trx) =>
          products.setAvailability(work, trx, ctx),
        );
      }),
      changeStock: implement("partners.changeStock", async (ctx) => {
        managerOf(ctx);
        return await idempotent(db, ctx, "partners.changeStock", (trx) =>
          products.changeStock(work, trx, ctx),
        );
      }),

      check: implement("partners.check", (ctx) => check(work, ctx)),
      // Only Orders calls these, for a customer or for a deadline. The gateway does not publish them.
      reserve: implement("partners.reserve", (ctx) => reserve(work, ctx.params), { visibility: "public" }),
      release: implement(
        "partners.release",
        async (ctx) => {
          await release(work, ctx.params.orderId);
          return {};
        },
        { visibility: "public" },
      ),

      getWebhook: implement("partners.getWebhook", (ctx) => endpoint.getWebhook(work, ctx)),
      setWebhook: implement("partners.setWebhook", (ctx) => endpoint.setWebhook({ ...work, sender }, ctx)),
      rotateWebhookSecret: implement("partners.rotateWebhookSecret", (ctx) =>
        endpoint.rotateSecret(work, ctx),
      ),
      testWebhook: implement("partners.testWebhook", async (ctx) => {
        adminOf(ctx);
        return await idempotent(db, ctx, "partners.testWebhook", (trx) => {
          sender.wakeAfter(trx);
          return endpoint.testWebhook(work, trx, ctx);
        });
      }),
      listWebhookDeliveries: implement("partners.listWebhookDeliveries", (ctx) =>
        endpoint.listWebhookDeliveries(work, ctx),
      ),
      replayWebhookDelivery: implement("partners.replayWebhookDelivery", async (ctx) => {
        managerOf(ctx);
        const { deliveryId, partnerId } = ctx.params;
        return await idempotent(db, ctx, "partners.replayWebhookDelivery", (trx) => {
          sender.wakeAfter(trx);
          return endpoint.replayWebhook(work, trx, ctx, deliveryId, partnerId);
        });
      }),
      receiveCallback: implement("partners.receiveCallback", (ctx) => receiveCallback(work, ctx)),
      ...deadLetterActions({ ...work, sender }, inbox.mixin.actions),
    },
  };
}

/** For Moleculer's runner and REPL, and for our launcher. */
export default {
  name: "partners",
  mixins: [nodeDependencies("partners", partnersService)],
} satisfies ServiceSchema;

/** An outbox that also invalidates the cached pages once a transaction with a catalogue message has committed. */
function invalidatingOutbox(out: Outbox, cached: Caching): Pick<Outbox, "add"> {
  return {
    async add(trx, messages) {
      await out.add(trx, messages);
      trx.executionPromise.then(
        () => cached.outdated(),
        () => undefined,
      );
    },
  };
}
