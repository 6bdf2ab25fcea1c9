import { registerHooks } from "node:module";

/**
 * Where the product's modules reach a server, they get a stand-in that keeps everything in memory: the
 * repositories, which hold all SQL, and the two files that send and receive NOTIFY. All else is the product.
 */
const stores = [
  ["services/orders/store/orders.repository.ts", "orders.ts"],
  ["services/orders/store/deadlines.repository.ts", "deadlines.ts"],
  ["services/orders/store/couriers.repository.ts", "couriers.ts"],
  ["services/orders/store/offers.repository.ts", "offers.ts"],
  ["services/orders/store/payments.repository.ts", "payments.ts"],
  ["services/orders/store/reconciliation.repository.ts", "reconciliation.ts"],
  ["services/partners/store/reservations.repository.ts", "reservations.ts"],
  ["services/partners/store/partners.repository.ts", "partners.ts"],
  ["services/partners/store/products.repository.ts", "products.ts"],
  ["services/partners/use-cases/enqueue-webhooks.ts", "announce.ts"],
  ["mixins/outbox/outbox.repository.ts", "outbox.ts"],
  ["mixins/outbox/replay.repository.ts", "replay.ts"],
  ["mixins/consumer/inbox.repository.ts", "inbox.ts"],
  ["mixins/postgres/idempotency.repository.ts", "idempotency.ts"],
  ["lib/messaging/listener.ts", "listener.ts"],
  ["lib/messaging/announcer.ts", "announcer.ts"],
] as const;

const root = new URL("../../", import.meta.url).href;
const own = `${root}test/simulation/`;
const instead = new Map<string, string>(
  stores.map(([file, store]) => [root + file, `${own}stores/${store}`]),
);

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    if (context.parentURL?.startsWith(own)) return found;
    const store = instead.get(found.url);
    return store ? { ...found, url: store } : found;
  },
});
