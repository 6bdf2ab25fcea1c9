import { ServiceBroker, type ServiceSchema } from "moleculer";
import { type ActionName, call, implement, type Params, type Result } from "../../contracts/actions.ts";
import type { Offer } from "../../contracts/catalogue.ts";
import { type MessageType, message, type OrderSnapshot } from "../../contracts/messages.ts";
import type { Partner, QuotedLine } from "../../contracts/partners.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { inProcessMessageBus, type MessageBus } from "../../providers/message-bus/index.ts";
import { type PartnersServiceDeps, partnersService } from "../../services/partners/partners.service.ts";
import { createDatabase, patientSettings, REQUEST_TIMEOUT_MS } from "./postgres.ts";
import { onlooker } from "./sql.ts";
import { TEST_ISSUER, type TestClaims, testIdentity } from "./tokens.ts";

export const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });
export const sampleAddress = { line1: "Kirchgasse 3", city: "Bern", postalCode: "3011", country: "CH" };
export const alwaysOpen = {
  timeZone: "Europe/Zurich",
  spans: [0, 1, 2, 3, 4, 5, 6].map((weekday) => ({ weekday, fromMinute: 0, untilMinute: 1440 })),
};
const ADMIN: TestClaims = { role: "admin" };

export interface PartnersTestOptions extends Omit<PartnersServiceDeps, "config" | "messageBus"> {
  settings?: Partial<Settings>;
  /** Where Orders says that an order is; by default, the state in its newest message. */
  orderState?: (orderId: string) => Promise<Result<"orders.state">["state"]>;
  /** Answers a callback to Orders, or throws. */
  applyPartnerCallback?: (params: Params<"orders.applyPartnerCallback">) => Promise<void>;
  /** A database of its own that outlives the service, so that several may share it. */
  url?: string;
}

/** Settings as the launcher resolves them, for a service that stands alone. */
export function partnersSettings(url: string, change: Partial<Settings> = {}): Settings {
  return {
    ...readSettings({}),
    ...patientSettings,
    POSTGRES_URL_PARTNERS: url,
    POSTGRES_URL_ORDERS: "",
    POSTGRES_URL_NOTIFICATIONS: "",
    POSTGRES_URL_IDENTITY: "",
    PUBLIC_URL: TEST_ISSUER,
    SMTP_URL: "",
    BRIDGE_SECRET: "bridge-secret-of-the-tests-0123456789",
    HANDOVER_SECRET: "handover-secret-of-the-tests-0123456",
    SEAL_SECRET: "seal-secret-of-the-tests-0123456789ab",
    SANDBOX: true,
    ...change,
  };
}

/** The partners service on a real database and a real broker. */
export async function startPartners(options: PartnersTestOptions = {}) {
  const { settings, applyPartnerCallback, orderState, url, ...rest } = options;
  const database = url === undefined ? await createDatabase("partners") : undefined;
  const databaseUrl = url ?? (database as { url: string }).url;
  const identity = testIdentity();
  const messageBus = inProcessMessageBus({ groups: ["partners"] });
  const said: { type: MessageType; subject: string; data: unknown }[] = [];
  const stopListening = await listen(messageBus, said);
  const broker = new ServiceBroker(
    brokerOptions({
      nodeID: `test-${newId()}`,
      namespace: newId(),
      transporter: undefined,
      requestTimeoutMs: settings?.REQUEST_TIMEOUT_MS ?? REQUEST_TIMEOUT_MS,
      logLevel: "fatal",
      json: false,
      middlewares: [identity.middleware()],
    }),
  );
  broker.createService(identity.service);
  const spoken = new Map<string, { status: OrderSnapshot["status"]; version: number }>();
  const asSpoken: NonNullable<PartnersTestOptions["orderState"]> = async (orderId) => spoken.get(orderId);
  const current = { state: orderState ?? asSpoken };
  broker.createService(standInOrders(current, applyPartnerCallback));
  broker.createService(
    partnersService({ config: partnersSettings(databaseUrl, settings), messageBus, ...rest }),
  );
  await broker.start();

  const as = async <N extends ActionName>(
    who: TestClaims,
    name: N,
    params: Params<N>,
    key?: { key: string; bodyHash: string },
  ): Promise<Result<N>> =>
    call(broker, name, params, {
      meta: { token: await identity.token(who), ...(key && { idempotency: key }) },
    });

  const stopping: (() => Promise<void>)[] = [];
  const { sql, close } = onlooker(databaseUrl);

  return {
    broker,
    /** Stops this too, once the service has. */
    afterStop: (stop: () => Promise<void>) => void stopping.push(stop),
    url: databaseUrl,
    messageBus,
    /** Messages of this service that reached the message bus. */
    said,
    as,
    asAdmin: <N extends ActionName>(name: N, params: Params<N>) => as(ADMIN, name, params),
    /** Where Orders says that an order is, from now on. Default: where its newest message said. */
    orderIs: (state: NonNullable<PartnersTestOptions["orderState"]> = asSpoken) => {
      current.state = state;
    },
    /** A call without a token, as a machine's. */
    bare: <N extends ActionName>(name: N, params: Params<N>) => call(broker, name, params),
    sql,
    /** A partner that customers can order from at any time. */
    async openPartner(change: Partial<Params<"partners.create">> = {}): Promise<Partner> {
      const { id } = await as(ADMIN, "partners.create", { ...samplePartner(), ...change });
      await as(ADMIN, "partners.setHours", { partnerId: id, hours: alwaysOpen });
      return await as(ADMIN, "partners.update", { partnerId: id, verified: true });
    },
    async product(partnerId: string, change: Partial<Params<"partners.createProduct">> = {}): Promise<Offer> {
      const product = { partnerId, title: "Bread", price: euro(450), ...change };
      return await as(ADMIN, "partners.createProduct", product);
    },
    /** Says a message as Orders' outbox would. */
    async say<T extends MessageType & `order.${string}`>(
      type: T,
      order: OrderSnapshot,
      change: { id?: string; time?: string; traceparent?: string } = {},
    ) {
      const news = {
        ...envelope("waybill/orders", message(type, order.orderId, order as never), Date.now()),
      };
      const { orderId, status, version } = order;
      if (version > (spoken.get(orderId)?.version ?? 0)) spoken.set(orderId, { status, version });
      await messageBus.publish([{ ...news, ...change }]);
      return { ...news, ...change };
    },
    async stop() {
      await broker.stop();
      await stopListening();
      await messageBus.close();
      await Promise.all(stopping.map((stop) => stop()));
      await close();
      await database?.drop();
    },
  };
}

export type PartnersHarness = Awaited<ReturnType<typeof startPartners>>;

let partnerNumber = 0;

export function samplePartner(): Params<"partners.create"> {
  partnerNumber += 1;
  return {
    title: `Bakery ${partnerNumber} ${newId()}`,
    phone: "+41315550100",
    email: "shop@bakery.example",
    address: sampleAddress,
    currency: "EUR",
    deliveryFeeMinor: 300,
    preparationMinutes: 15,
    proof: "pin",
  };
}

export function lineOf(offer: Offer, quantity: number): QuotedLine {
  return { productId: offer.productId, title: offer.title, quantity, unitPrice: offer.price };
}

export function reservationOf(
  partner: Partner,
  lines: QuotedLine[],
  change: Partial<Params<"partners.reserve">> = {},
): Params<"partners.reserve"> {
  return {
    orderId: newId(),
    partnerId: partner.id,
    lines,
    fee: euro(partner.deliveryFeeMinor),
    expiresAt: isoTime(Date.now() + 1_800_000),
    ...change,
  };
}

/** An order as its messages tell it. */
export function orderOf(
  reserved: Params<"partners.reserve">,
  change: Partial<OrderSnapshot> = {},
): OrderSnapshot {
  return {
    version: 2,
    orderId: reserved.orderId,
    status: "paid",
    previousStatus: "pending",
    paymentStatus: "paid",
    customer: { id: newId(), name: "Zoë Müller-Lüdenscheidt" },
    partnerId: reserved.partnerId,
    partnerTitle: "Bakery",
    lines: reserved.lines,
    fee: reserved.fee,
    total: euro(1200),
    paid: euro(1200),
    refunded: euro(0),
    address: sampleAddress,
    pickup: sampleAddress,
    actor: "bank:sandbox",
    deadlineAt: isoTime(Date.now() + 600_000),
    ...change,
  };
}

function standInOrders(
  current: { state: NonNullable<PartnersTestOptions["orderState"]> },
  apply: PartnersTestOptions["applyPartnerCallback"],
): ServiceSchema {
  return {
    name: "orders",
    actions: {
      state: implement("orders.state", async (ctx) => {
        const state = await current.state(ctx.params.orderId);
        return state ? { state } : {};
      }),
      ...(apply && {
        applyPartnerCallback: implement("orders.applyPartnerCallback", async (ctx) => {
          await apply(ctx.params);
          return {};
        }),
      }),
    },
  };
}

async function listen(
  messageBus: MessageBus,
  said: { type: MessageType; subject: string; data: unknown }[],
): Promise<() => Promise<void>> {
  const types: MessageType[] = [
    "partner.updated",
    "partner.notified",
    "notification.requested",
    "availability.changed",
    "alert.raised",
  ];
  return await messageBus.subscribe("test", types, async (messages) => {
    for (const one of messages as typeof said) said.push(one);
  });
}
