import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServiceBroker } from "moleculer";
import { type ActionName, call, type Params, type Result } from "../../contracts/actions.ts";
import { type MessageData, type MessageType, message, type OrderSnapshot } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { Database, rows as rowsOf } from "../../lib/sql/database.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";
import { startMailbox } from "../../sandbox/mailbox/mailbox.ts";
import { pushReceiver } from "../../sandbox/push/receiver.ts";
import { serve } from "../../sandbox/web.ts";
import type { MailDesign } from "../../services/notifications/domain/templates/mail.ts";
import {
  type NotificationsDeps,
  notificationsService,
} from "../../services/notifications/notifications.service.ts";
import { eventually } from "./eventually.ts";
import { startOneSignal } from "./onesignal-server.ts";
import { ACQUIRE_TIMEOUT_MS, createDatabase, patientSettings } from "./postgres.ts";
import { TEST_ISSUER, type TestClaims, testIdentity } from "./tokens.ts";

const HOST = "127.0.0.1";
const oneSignalSettings = {
  appId: "7c1e5a50-93c1-4d1e-8f0f-5b6f0e6c9a01",
  apiKey: "os_v2_app_canary_7d1f0c2e",
};

const ADMIN = { role: "admin" } as const;

type Provider = "onesignal" | "sandbox";

export interface Person {
  id: string;
  email: string;
}

/** The notifications service on a real database, with servers of our own behind its push and mail providers. */
export async function startNotifications(
  settings: Partial<Settings> = {},
  deps: Partial<NotificationsDeps> = {},
) {
  const database = await createDatabase("notifications");
  const dataDir = mkdtempSync(join(tmpdir(), "waybill-notifications-"));
  const phones = pushReceiver("/push");
  const web = await serve(phones.routes, { host: HOST, port: 0 });
  const sandboxSettings = { url: `${web.url}/push/send` };
  const oneSignal = await startOneSignal(oneSignalSettings);
  let mailbox = await startMailbox({ base: "/mailbox", host: HOST, smtpPort: 0 });
  const smtpPort = Number(new URL(mailbox.smtpUrl).port);
  const identity = testIdentity();
  const messageBus = inProcessMessageBus({ groups: ["notifications"] });
  const config = {
    ...readSettings({ DATA_DIR: dataDir, ONESIGNAL_API_URL: oneSignal.url }),
    ...patientSettings,
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
      requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
      nodeID: `test-${newId()}`,
      namespace: newId(),
      transporter: undefined,
      logLevel: "fatal",
      json: false,
      middlewares: [identity.middleware()],
    }),
  );
  broker.createService(identity.service);
  broker.createService(notificationsService({ config, messageBus, ...deps }));
  await broker.start();

  const db = new Database({
    url: database.url,
    poolSize: 3,
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    applicationName: "test",
  });
  const rows = <T = unknown>(sql: string, values: unknown[] = []) => rowsOf<T>(db, sql, values);

  /** Calls an action as a user. */
  const as = async <N extends ActionName>(who: TestClaims, name: N, params: Params<N>): Promise<Result<N>> =>
    call(broker, name, params, { meta: { token: await identity.token(who) } });

  /** Says a message as another service's outbox would; again, when it has that id. */
  async function say<T extends MessageType>(
    type: T,
    data: MessageData<T>,
    change: { id?: string; time?: string } = {},
  ) {
    const said = { ...envelope("waybill/test", message(type, newId(), data), Date.now()), ...change };
    await messageBus.publish([said]);
    return said;
  }

  /** A user who was announced by identity and is stored by now. */
  async function person(change: Partial<MessageData<"user.registered">> = {}): Promise<Person> {
    const id = newId();
    const email = `${id}@example.org`;
    await say("user.registered", {
      ...{ version: 1, userId: id, email, firstName: "Zoë", language: "en", role: "customer" },
      ...change,
    });
    await eventually(async () => {
      const known = await rows("SELECT 1 FROM recipients WHERE user_id = ?", [id]);
      if (known.length !== 1) throw new Error(`${id} is not known yet`);
    });
    return { id, email };
  }

  const historyOf = async ({ id }: Person) => (await as({ id }, "notifications.list", {})).items;

  /** Makes one agent send: the one with the lowest number. */
  async function sendBy(...providers: Provider[]) {
    const [first] = (await as(ADMIN, "notifications.agents", {})).items;
    const settings = [
      { provider: "onesignal" as const, values: oneSignalSettings },
      { provider: "sandbox" as const, values: sandboxSettings },
    ];
    if (first) return as(ADMIN, "notifications.updateAgent", { agentId: first.id, providers, settings });
    return as(ADMIN, "notifications.createAgent", {
      ...{ name: "Main", priority: 1, providers, settings, enabled: true },
    });
  }

  return {
    config,
    database,
    db,
    broker,
    oneSignal,
    oneSignalSettings,
    as,
    say,
    rows,
    person,
    historyOf,
    sendBy,
    /** The one notification of a person, once it is settled. */
    settled: (who: Person) =>
      eventually(async () => {
        const [one, ...more] = await historyOf(who);
        if (!one || more.length > 0) throw new Error(`${who.id} has ${one ? "several" : "no"} notifications`);
        return one;
      }),
    device: (
      who: Person,
      provider: Params<"notifications.addDevice">["provider"],
      token: string,
      deviceId?: string,
    ) => as({ id: who.id }, "notifications.addDevice", { provider, token, ...(deviceId && { deviceId }) }),
    /** The pushes that the phone with this token has shown. */
    shownTo: (token: string) => phones.pushes().filter((push) => push.token === token),
    mails: (to: string) => mailbox.mails().filter((mail) => mail.to.includes(to)),
    async stopMailbox() {
      await mailbox.stop();
    },
    async startMailbox() {
      mailbox = await startMailbox({ base: "/mailbox", host: HOST, smtpPort });
    },
    async stop() {
      await db.close();
      await broker.stop();
      await messageBus.close();
      await Promise.all([mailbox.stop(), web.stop(), oneSignal.stop()]);
      await database.drop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export type NotificationsHarness = Awaited<ReturnType<typeof startNotifications>>;

/** The design of mails: with a front app, and PINs that are easy to find. */
export const sampleDesign: MailDesign = {
  brand: { name: "Nosh & Co", color: "#0b6e4f" },
  pages: { appUrl: "https://app.example.org", publicUrl: "https://api.example.org" },
  pinOf: () => "4711",
};

/** An order that is under way to its customer. */
export function orderOf(who: Person, change: Partial<OrderSnapshot> = {}): OrderSnapshot {
  return sampleOrder({ customer: { id: who.id, name: "Zoë" }, delivererId: newId(), ...change });
}

/** Each try to tell them: `sandbox accepted` and the like. */
export function outcomesOf({ attempts }: { attempts: { provider: string; outcome: string }[] }): string[] {
  return attempts.map(({ provider, outcome }) => `${provider} ${outcome}`);
}

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
