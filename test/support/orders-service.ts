import { randomBytes } from "node:crypto";
import { ServiceBroker } from "moleculer";
import { Webhook } from "standardwebhooks";
import { type ActionName, call, type Params, type Result } from "../../contracts/actions.ts";
import type { Account } from "../../contracts/identity.ts";
import { type Message, type MessageType, message, type NewMessage } from "../../contracts/messages.ts";
import type { PartnerNotice } from "../../contracts/partner-notices.ts";
import { newId } from "../../lib/ids.ts";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";
import { startPaymentSystem } from "../../sandbox/payment-system/server.ts";
import { type OrdersServiceDeps, ordersService } from "../../services/orders/orders.service.ts";
import { eventually } from "./eventually.ts";
import { sampleQuote } from "./orders.ts";
import {
  type LiveEvent,
  listen,
  standInMedia,
  standInPartners,
  userActions,
  watcher,
} from "./orders-around.ts";
import { createDatabase, patientSettings, REQUEST_TIMEOUT_MS } from "./postgres.ts";
import { onlooker } from "./sql.ts";
import { type TestClaims, testIdentity } from "./tokens.ts";

/** An address without a listener and without a name to look up: the bank's own reports go astray, tests send theirs. */
export const PUBLIC_URL_OF_TESTS = "http://127.0.0.1:9";
export const API_KEY = "sk_test_orders";
export const SUPPORT_REFUND_MAX_MINOR = 2_000;
export const WEBHOOK_SECRET = `whsec_${randomBytes(32).toString("base64")}`;
const webhook = new Webhook(WEBHOOK_SECRET);

export interface OrdersTestOptions {
  /** Settings that differ, as the address of a MongoDB. */
  settings?: Partial<Settings>;
  /** Answers a reservation, or throws. */
  reserve?: (params: Params<"partners.reserve">) => Promise<Result<"partners.reserve">>;
  clock?: OrdersServiceDeps["clock"];
  /** Where the bank is, in place of the sandbox's payment system. */
  bankUrl?: string;
  /** A database that outlives the service, so that several may share it. */
  url?: string;
  /** The workers run at the intervals of production. Default: many times a second. */
  slowWorkers?: boolean;
  /** Where Stripe is. */
  stripeUrl?: string;
}

export function ordersSettings(url: string): Settings {
  return {
    ...readSettings({ DATA_DIR: `/nonexistent/${newId()}` }),
    ...patientSettings,
    POSTGRES_POOL: 20,
    POSTGRES_URL_PARTNERS: "",
    POSTGRES_URL_ORDERS: url,
    POSTGRES_URL_NOTIFICATIONS: "",
    POSTGRES_URL_IDENTITY: "",
    PUBLIC_URL: PUBLIC_URL_OF_TESTS,
    SMTP_URL: "",
    BRIDGE_SECRET: "bridge-secret-of-the-tests-0123456789",
    HANDOVER_SECRET: "handover-secret-of-the-tests-0123456",
    SEAL_SECRET: "seal-secret-of-the-tests-0123456789ab",
  };
}

/** The orders service on a real database, joined to a node with a stand-in of Partners; a real bank beside. */
export async function startOrders(options: OrdersTestOptions = {}) {
  const database = options.url
    ? { url: options.url, drop: async () => undefined }
    : await createDatabase("orders");
  const identity = testIdentity();
  const messageBus = inProcessMessageBus({ groups: ["orders"] });
  const said: Message[] = [];
  const stopListening = await listen(messageBus, said);
  const bank = await startPaymentSystem({
    host: "127.0.0.1",
    port: 0,
    apiKey: API_KEY,
    webhookSecret: WEBHOOK_SECRET,
  });
  const reserved: Params<"partners.reserve">[] = [];
  const quotes = new Map<string, ReturnType<typeof sampleQuote>>();
  const stand: { reserve: NonNullable<OrdersTestOptions["reserve"]> } = {
    reserve: options.reserve ?? (async ({ orderId }) => (quotes.get(orderId) ?? sampleQuote()).partner),
  };
  const namespace = newId();
  const node = (nodeID: string) =>
    new ServiceBroker(
      brokerOptions({
        nodeID,
        namespace,
        transporter: { type: "Fake" },
        requestTimeoutMs: options.settings?.REQUEST_TIMEOUT_MS ?? REQUEST_TIMEOUT_MS,
        logLevel: "fatal",
        json: false,
        middlewares: [identity.middleware()],
      }),
    );
  const edge = node("edge");
  const orders = node("orders");
  const named: Account[] = [];
  const { actions } = identity.service;
  edge.createService({ ...identity.service, actions: { ...actions, ...userActions(named) } });
  edge.createService(
    standInPartners((params) => {
      reserved.push(params);
      return stand.reserve(params);
    }),
  );
  edge.createService(standInMedia());
  const live: LiveEvent[] = [];
  edge.createService(watcher(live));
  const config = {
    ...ordersSettings(database.url),
    SUPPORT_REFUND_MAX_MINOR,
    ...options.settings,
    ...(options.stripeUrl && { STRIPE_API_URL: options.stripeUrl }),
    DATA_DIR: `${process.env.WAYBILL_TEST_RUN}/${newId()}`,
  };
  orders.createService(
    ordersService({
      ...{ config, messageBus },
      ...(!options.slowWorkers && { sweepIntervalMs: 100, reconcileIntervalMs: 100, eraseIntervalMs: 100 }),
      ...(options.clock && { clock: options.clock }),
    }),
  );
  await Promise.all([edge.start(), orders.start()]);
  await edge.waitForServices(["orders"]);
  await orders.waitForServices(["partners", "identity", "media"]);

  const as = async <N extends ActionName>(
    who: TestClaims,
    name: N,
    params: Params<N>,
    key?: { key: string; bodyHash: string },
  ): Promise<Result<N>> =>
    call(edge, name, params, {
      meta: { token: await identity.token(who), ...(key && { idempotency: key }) },
    });
  const admin: TestClaims = { id: newId(), role: "admin" };
  const { sql, close } = onlooker(database.url);
  const { id: bankId } = await as(admin, "orders.createBank", {
    title: "Sandbox bank",
    adapter: "sandbox",
    settings: { apiKey: API_KEY, webhookSecret: WEBHOOK_SECRET },
    webcheckoutUrl: options.bankUrl ?? bank.url,
    active: true,
  });

  /** A signed callback of the bank. */
  const report = (
    event: { type?: string; id?: string; data: Record<string, unknown> | string },
    change: { secret?: string; at?: Date; headers?: Record<string, string>; bankId?: string } = {},
  ) => {
    const { type = "payment.succeeded", id = `evt_${newId()}`, data } = event;
    const body = typeof data === "string" ? data : JSON.stringify({ type, data });
    const at = change.at ?? new Date();
    const signer = change.secret ? new Webhook(change.secret) : webhook;
    const headers = {
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
      "webhook-signature": signer.sign(id, at, body),
      ...change.headers,
    };
    return call(edge, "orders.receivePayment", { bankId: change.bankId ?? bankId, headers, body });
  };
  const paid = (
    orderId: string,
    amountMinor = 2950,
    change: { paymentId?: string; id?: string; currency?: string } = {},
  ) =>
    report({
      ...(change.id && { id: change.id }),
      data: {
        payment_id: change.paymentId ?? `pay_${newId()}`,
        order_id: orderId,
        amount_minor: amountMinor,
        currency: change.currency ?? "EUR",
      },
    });

  const confirmed = async (quote: Partial<ReturnType<typeof sampleQuote>> = {}, atBank = bankId) => {
    const customer: TestClaims = { id: newId(), role: "customer" };
    const made = sampleQuote(quote);
    quotes.set(made.checkId, made);
    const confirmation = await as(customer, "orders.confirm", {
      bankId: atBank,
      quote: made,
      customer: { id: customer.id as string, name: "Ada Byron", phone: "+41790000000" },
    });
    return { customer, quote: made, orderId: confirmation.orderId, confirmation };
  };
  type Placed = Awaited<ReturnType<typeof confirmed>>;
  const say = (
    order: Placed,
    type: `order.${"accepted" | "rejected" | "delayed" | "ready"}`,
    more: { reason?: string; readyAt?: string } = {},
  ) =>
    call(edge, "orders.applyPartnerCallback", {
      partnerId: order.quote.partner.id,
      eventId: newId(),
      bodyHash: "a".repeat(64),
      type,
      orderId: order.orderId,
      ...more,
    });

  /** An order that was brought into a state by those who bring orders there. */
  const placed = async (
    status: "pending" | "paid" | "preparing" | "ready" | "delivering",
    quote: Partial<ReturnType<typeof sampleQuote>> = {},
  ) => {
    const order = await confirmed(quote);
    const deliverer: TestClaims = { id: newId(), role: "deliverer" };
    const states = ["pending", "paid", "preparing", "ready", "delivering"];
    const until = states.indexOf(status);
    if (until >= 1) await paid(order.orderId);
    if (until >= 2) await say(order, "order.accepted");
    if (until >= 3) await say(order, "order.ready");
    if (until >= 4) await as(deliverer, "orders.assign", { orderId: order.orderId });
    return { ...order, deliverer };
  };

  const hear = async (source: string, news: NewMessage) => {
    const sent = envelope(source, news, Date.now());
    await messageBus.publish([sent]);
    await eventually(async () => {
      const [row] = await sql<{ state: string }>("SELECT state FROM inbox WHERE message_id = $1", [sent.id]);
      if (row?.state !== "done") throw new Error(`${news.type} was not handled yet`);
    });
  };
  const saidOf = (subject: string, type?: MessageType) =>
    said.filter((one) => one.subject === subject && (!type || one.type === type));
  /** Waits until every message has been handed over and handled. */
  const settled = () =>
    eventually(async () => {
      const [open] = await sql<{ count: number }>(
        `SELECT ((SELECT count(*) FROM outbox WHERE sent_at IS NULL)
          + (SELECT count(*) FROM inbox WHERE state = 'waiting')
          + (SELECT count(*) FROM refunds WHERE state IN ('pending', 'sent', 'unknown')))::integer AS count`,
      );
      if (open?.count !== 0) throw new Error(`${open?.count} are open`);
    });

  return {
    edge,
    orders,
    strangers: identity.strangers,
    /** The users that a search by the beginning of the first name finds. */
    named,
    url: database.url,
    bankId,
    bankUrl: bank.url,
    admin,
    as,
    bare: <N extends ActionName>(name: N, params: Params<N>) => call(edge, name, params),
    sql,
    /** Messages that reached the message bus. */
    said,
    saidOf,
    /** The messages about a subject, after all have been sent. */
    async told(subject: string, type: MessageType) {
      await settled();
      return saidOf(subject, type);
    },
    /** The kinds of alert that were raised about something. */
    alerts: (subject: string) =>
      saidOf(subject, "alert.raised").map(({ data }) => (data as { kind: string }).kind),
    /** The types of an order's steps in the database. */
    async steps(orderId: string) {
      const rows = await sql<{ type: string }>(
        "SELECT type FROM order_transitions WHERE order_id = $1 ORDER BY version",
        [orderId],
      );
      return rows.map(({ type }) => type);
    },
    live,
    reserved,
    stand,
    quotes,
    report,
    paid,
    say,
    confirmed,
    placed,
    get: (order: { customer: TestClaims; orderId: string }) =>
      as(order.customer, "orders.get", { orderId: order.orderId }),
    /** The bank is to be asked about an order now. @param minutesAgo when the order was made, as it were */
    lookDue: (orderId: string, minutesAgo = 3) =>
      sql(
        `UPDATE orders SET reconcile_at = now(), created_at = now() - $2 * interval '1 minute' WHERE id = $1`,
        [orderId, minutesAgo],
      ),
    /** Another service says something; resolves when Orders has handled it. */
    hear,
    /** Partners reports the result of the notification of an order's partner; resolves when Orders has handled the message. */
    async notice(
      { orderId, quote }: Placed,
      outcome: PartnerNotice["outcome"] = "delivered",
      detail?: string,
    ) {
      const partnerId = quote.partner.id;
      const data = { version: 1, orderId, partnerId, outcome, ...(detail && { detail }) };
      await hear("waybill/partners", message("partner.notified", orderId, data));
    },
    /** Puts an order's deadline into the past, by the database's clock. */
    overdue: (orderId: string) =>
      sql("UPDATE orders SET deadline_at = now() - interval '1 second' WHERE id = $1", [orderId]),
    settled,
    async stop() {
      await edge.stop();
      await orders.stop();
      await stopListening();
      await messageBus.close();
      await bank.stop();
      await close();
      await database.drop();
    },
  };
}

export type OrdersHarness = Awaited<ReturnType<typeof startOrders>>;
