import type { ServiceSchema } from "moleculer";
import { implement } from "../../contracts/actions.ts";
import { optional, uuid } from "../../contracts/schema.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { keyedLimit } from "../../lib/keyed-limit.ts";
import type { GuardOptions } from "../../lib/net/guarded-request.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { type Caching, caching } from "../../mixins/caching/caching.mixin.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import { health } from "../../mixins/health/health.mixin.ts";
import { nodeDependencies } from "../../mixins/node-dependencies/node-dependencies.mixin.ts";
import { type Outbox, outbox } from "../../mixins/outbox/outbox.mixin.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { pruning } from "../../mixins/pruning/pruning.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { check } from "./actions/check.ts";
import { deadLetterActions } from "./actions/dead-letters.ts";
import { receiveCallback } from "./actions/partner-callback.ts";
import * as partners from "./actions/partners.ts";
import * as products from "./actions/products.ts";
import { release, reserve } from "./actions/reservations.ts";
import * as webhooks from "./actions/webhook-endpoint.ts";
import type { PartnersDependencies } from "./dependencies.ts";
import { countWebhooks } from "./store/webhook-deliveries.repository.ts";
import { orderHandlers } from "./workers/order-events.ts";
import { orderStates } from "./workers/order-states.ts";
import { SWEEP_GRACE_MS, sweepReservations } from "./workers/reservations.ts";
import { partnerRetentions } from "./workers/retention.ts";
import { reindexProducts } from "./workers/search-reindex.ts";
import { type SenderOptions, webhookSender } from "./workers/webhook-sender.ts";

/** No message reports a change of stock. A cached list may show it this much later; a gateway's cache adds 5 s. */
const FRONT_PAGE_TTL_SECONDS = 25;
const SWEEP_INTERVAL_MS = 30_000;
const HOUR_MS = 3_600_000;
/** During an update, processes of an earlier release may still write search words of an earlier version. */
const REINDEX_INTERVAL_MS = 60_000;
/** Limits how many database connections the orders of one partner use, so that a popular product does not block others. */
const PARTNER_SHARE = 0.4;

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
export function partnersService(options: PartnersServiceDeps): ServiceSchema {
  const { config, messageBus, clock = systemClock } = options;
  const { intervalMs, graceMs } = options.sweep ?? { intervalMs: SWEEP_INTERVAL_MS, graceMs: SWEEP_GRACE_MS };

  const db = postgres({
    url: config.POSTGRES_URL_PARTNERS,
    poolSize: config.POSTGRES_POOL,
    acquireTimeoutMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    name: "partners",
  });
  const out = outbox({ postgres: db, messageBus, source: "waybill/partners", clock });
  const frontPage = caching([products.FRONT_PAGE]);
  const states = orderStates();
  const deps: PartnersDependencies = {
    clock,
    postgres: db,
    outbox: invalidatingOutbox(out, frontPage),
    perPartner: keyedLimit({
      atOnce: Math.max(1, Math.floor(config.POSTGRES_POOL * PARTNER_SHARE)),
      waitMs: config.POSTGRES_ACQUIRE_TIMEOUT_MS,
    }),
    guard: { allowLoopback: config.SANDBOX, ...(options.resolve && { resolve: options.resolve }) },
    keys: { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS },
    orderState: states.read,
    wakeSenderAfter: (trx) => sender.wakeAfter(trx),
  };

  const sender = webhookSender({
    ...{ ...deps, partnerVisibleMs: config.PARTNER_SEES_CUSTOMER_HOURS * HOUR_MS },
    ...options.webhooks,
  });
  const inbox = consumer({
    ...{ postgres: db, messageBus, group: "partners", clock, outbox: out },
    handlers: orderHandlers({
      ...deps,
      outbox: out,
      catalogueOutbox: deps.outbox,
      publicUrl: config.PUBLIC_URL,
    }),
  });
  const reservations = timer({
    name: "reservation sweep",
    intervalMs,
    run: (stopping) => sweepReservations(deps, graceMs, stopping),
  });
  const reindexing = timer({
    name: "search reindex",
    intervalMs: REINDEX_INTERVAL_MS,
    run: (stopping) => reindexProducts(deps, stopping),
  });
  const pruner = pruning({
    ...{ postgres: db, clock, keepDeadLettersDays: config.KEEP_DEAD_LETTERS_DAYS },
    retentions: partnerRetentions(config.KEEP_DEAD_LETTERS_DAYS),
  });
  const healthChecks = health({
    checks: { postgres: () => db.ping() },
    outbox: out,
    inbox,
    degradations: { webhooks: sender.saturated },
    gauges: {
      ...pruner.gauges,
      partner_webhooks: {
        about: "Webhooks to partners' systems: pending attempts, and dead letters.",
        label: "state",
        read: () => countWebhooks(db.db),
      },
    },
  });

  return {
    name: "partners",
    grpc: { proto: "waybill/partners/v1/partners.proto", service: "waybill.partners.v1.Partners" },
    mixins: [
      frontPage.mixin,
      states.mixin,
      db.mixin,
      out.mixin,
      inbox.mixin,
      sender.mixin,
      reservations.mixin,
      reindexing.mixin,
      pruner.mixin,
      healthChecks.mixin,
    ],

    actions: {
      list: implement("partners.list", (ctx) => partners.list(deps, ctx)),
      get: implement("partners.get", (ctx) => partners.get(deps, ctx)),
      create: implement("partners.create", (ctx) => partners.create(deps, ctx)),
      update: implement("partners.update", (ctx) => partners.update(deps, ctx)),
      setHours: implement("partners.setHours", (ctx) => partners.setHours(deps, ctx)),
      setBusy: implement("partners.setBusy", (ctx) => partners.setBusy(deps, ctx)),

      frontPage: {
        visibility: "protected",
        params: { $$strict: true, partnerId: optional(uuid) },
        cache: { keys: ["partnerId"], ttl: FRONT_PAGE_TTL_SECONDS },
        handler: (ctx) => products.offersPage(deps, ctx.params, false),
      },
      listOffers: implement("partners.listOffers", (ctx) => products.listOffers(deps, ctx)),
      createProduct: implement("partners.createProduct", (ctx) => products.createProduct(deps, ctx)),
      updateProduct: implement("partners.updateProduct", (ctx) => products.updateProduct(deps, ctx)),
      deleteProduct: implement("partners.deleteProduct", (ctx) => products.deleteProduct(deps, ctx)),
      getAvailability: implement("partners.getAvailability", (ctx) => products.getAvailability(deps, ctx)),
      setAvailability: implement("partners.setAvailability", (ctx) => products.setAvailability(deps, ctx)),
      changeStock: implement("partners.changeStock", (ctx) => products.changeStock(deps, ctx)),

      check: implement("partners.check", (ctx) => check(deps, ctx)),
      // Only Orders calls these, for a customer or for a deadline. The gateway does not publish them.
      reserve: implement("partners.reserve", (ctx) => reserve(deps, ctx.params), { visibility: "public" }),
      release: implement("partners.release", (ctx) => release(deps, ctx.params), { visibility: "public" }),

      getWebhook: implement("partners.getWebhook", (ctx) => webhooks.getWebhook(deps, ctx)),
      setWebhook: implement("partners.setWebhook", (ctx) => webhooks.setWebhook(deps, ctx)),
      rotateWebhookSecret: implement("partners.rotateWebhookSecret", (ctx) =>
        webhooks.rotateSecret(deps, ctx),
      ),
      orderWebhooks: implement("partners.orderWebhooks", (ctx) => webhooks.orderWebhooks(deps, ctx)),
      testWebhook: implement("partners.testWebhook", (ctx) => webhooks.testWebhook(deps, ctx)),
      listWebhookDeliveries: implement("partners.listWebhookDeliveries", (ctx) =>
        webhooks.listWebhookDeliveries(deps, ctx),
      ),
      replayWebhookDelivery: implement("partners.replayWebhookDelivery", (ctx) =>
        webhooks.replayWebhookDelivery(deps, ctx),
      ),
      receiveCallback: implement("partners.receiveCallback", (ctx) => receiveCallback(deps, ctx)),
      ...deadLetterActions(deps, inbox.mixin.actions),
    },
  };
}

/** For Moleculer's runner and REPL, and for our launcher. */
export default {
  name: "partners",
  mixins: [nodeDependencies("partners", partnersService)],
} satisfies ServiceSchema;

/** An outbox that also invalidates the cached pages once a transaction with a catalogue message has committed. */
function invalidatingOutbox(out: Outbox, cached: Caching): PartnersDependencies["outbox"] {
  return {
    rowsFor: out.rowsFor,
    async add(trx, messages) {
      await out.add(trx, messages);
      trx.committed.then(
        () => cached.outdated(),
        () => undefined,
      );
    },
  };
}
