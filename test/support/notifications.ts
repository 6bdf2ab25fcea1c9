import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServiceBroker } from "moleculer";
import { type ActionName, call, type Params, type Result } from "../../contracts/actions.ts";
import { type MessageData, type MessageType, message, type OrderSnapshot } from "../../contracts/messages.ts";
import { readConfig, type Settings } from "../../lib/config/config.ts";
import { newId } from "../../lib/ids.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { brokerOptions } from "../../moleculer.config.ts";
import { inProcessCarrier } from "../../providers/carrier/index.ts";
import { startMailbox } from "../../sandbox/mailbox/mailbox.ts";
import { pushReceiver } from "../../sandbox/push/receiver.ts";
import { serve } from "../../sandbox/web.ts";
import { notificationsService } from "../../services/notifications/notifications.service.ts";
import { startOneSignal } from "./onesignal-server.ts";
import { ACQUIRE_TIMEOUT_MS, createDatabase } from "./postgres.ts";
import { TEST_ISSUER, type TestClaims, testIdentity } from "./tokens.ts";

const HOST = "127.0.0.1";
const oneSignalSettings = {
  appId: "7c1e5a50-93c1-4d1e-8f0f-5b6f0e6c9a01",
  apiKey: "os_v2_app_canary_7d1f0c2e",
};

/** The notifications service on a real database, with servers of our own behind its push and mail providers. */
export async function startNotifications(settings: Partial<Settings> = {}) {
  const database = await createDatabase("notifications");
  const dataDir = mkdtempSync(join(tmpdir(), "waybill-notifications-"));
  const phones = pushReceiver("/push");
  const web = await serve(phones.routes, { host: HOST, port: 0 });
  const oneSignal = await startOneSignal(oneSignalSettings);
  let mailbox = await startMailbox({ base: "/mailbox", host: HOST, smtpPort: 0 });
  const smtpPort = Number(new URL(mailbox.smtpUrl).port);
  const identity = testIdentity();
  const carrier = inProcessCarrier({ groups: ["notifications"] });
  const config = {
    ...readConfig({ DATA_DIR: dataDir, ONESIGNAL_API_URL: oneSignal.url }),
    POSTGRES_ACQUIRE_TIMEOUT_MS: ACQUIRE_TIMEOUT_MS,
    POSTGRES_URL_NOTIFICATIONS: database.url,
    POSTGRES_URL_ORDERS: "",
    POSTGRES_URL_PARTNERS: "",
    POSTGRES_URL_IDENTITY: "",
    PUBLIC_URL: TEST_ISSUER,
    SMTP_URL: mailbox.smtpUrl,
    BRIDGE_SECRET: "bridge-secret-of-the-tests-0123456789",
    HANDOVER_SECRET: "handover-secret-of-the-tests-0123456",
    SEAL_SECRET: "seal-secret-of-the-tests-0123456789ab",
    ...settings,
  };
  const broker = new ServiceBroker(
    brokerOptions({
      nodeID: `test-${newId()}`,
      namespace: newId(),
      transporter: undefined,
      logLevel: "fatal",
      json: false,
      middlewares: [identity.middleware()],
    }),
  );
  broker.createService(identity.service);
  broker.createService(notificationsService({ config, carrier }));
  await broker.start();

  return {
    config,
    database,
    broker,
    phones,
    oneSignal,
    oneSignalSettings,
    sandboxSettings: { url: `${web.url}/push/send` },
    mails: (to: string) => mailbox.mails().filter((mail) => mail.to.includes(to)),
    async stopMailbox() {
      await mailbox.stop();
    },
    async startMailbox() {
      mailbox = await startMailbox({ base: "/mailbox", host: HOST, smtpPort });
    },
    /** Calls an action as somebody. */
    async as<N extends ActionName>(who: TestClaims, name: N, params: Params<N>): Promise<Result<N>> {
      return call(broker, name, params, { meta: { token: await identity.token(who) } });
    },
    /** Says a message as another service's outbox would; again, when it has that id. */
    async say<T extends MessageType>(
      type: T,
      data: MessageData<T>,
      change: { id?: string; time?: string } = {},
    ) {
      const said = { ...envelope("waybill/test", message(type, newId(), data), Date.now()), ...change };
      await carrier.publish([said]);
      return said;
    },
    async stop() {
      await broker.stop();
      await carrier.close();
      await Promise.all([mailbox.stop(), web.stop(), oneSignal.stop()]);
      await database.drop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export type NotificationsHarness = Awaited<ReturnType<typeof startNotifications>>;

export function sampleOrder(change: Partial<OrderSnapshot> = {}): OrderSnapshot {
  const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });
  const address = { line1: "Kirchgasse 3", city: "Bern", postalCode: "3011", country: "CH" };
  return {
    version: 5,
    orderId: newId(),
    status: "delivering",
    previousStatus: "ready",
    paymentStatus: "paid",
    customer: { id: newId(), name: "Zoë" },
    partnerId: newId(),
    partnerTitle: "Bäckerei Aare",
    lines: [{ productId: newId(), title: "Bread", quantity: 2, unitPrice: euro(1000) }],
    fee: euro(450),
    total: euro(2450),
    paid: euro(2450),
    refunded: euro(0),
    address,
    pickup: { ...address, line1: "Marktgasse 1" },
    actor: "deadline",
    ...change,
  };
}
