import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServiceBroker, type ServiceSchema } from "moleculer";
import { type ActionName, call, implement, type Params, type Result } from "../../contracts/actions.ts";
import type { Tokens } from "../../contracts/identity.ts";
import { type Message, type MessageData, mailAad } from "../../contracts/messages.ts";
import type { Meta, Role } from "../../contracts/meta.ts";
import { systemClock } from "../../lib/clock.ts";
import { decrypt } from "../../lib/encryption.ts";
import { newId } from "../../lib/ids.ts";
import { tokenIssuer } from "../../lib/settings/issuer.ts";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { callerMiddleware } from "../../mixins/caller/caller.middleware.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { AUDIENCE } from "../../mixins/caller/token-verifier.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { builtInProvider, type IdentityProvider, type Sql } from "../../providers/identity/index.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";
import { providerOf } from "../../services/identity/dependencies.ts";
import { identityService } from "../../services/identity/identity.service.ts";
import { mediaService } from "../../services/media/media.service.ts";
import { eventually } from "./eventually.ts";
import { createDatabase, patientSettings, REQUEST_TIMEOUT_MS } from "./postgres.ts";
import { onlooker } from "./sql.ts";
import { TEST_ISSUER } from "./tokens.ts";

export const PASSWORD = "Blaubeere-Teppich-91";
export const SEAL_SECRET = "seal-secret-of-the-tests-0123456789ab";
const TYPES = [
  "user.registered",
  "user.updated",
  "user.deleted",
  "user.device_added",
  "user.signed_out",
  "notification.requested",
] as const;
type SeenType = (typeof TYPES)[number];

/** argon2id as in production, at a cost that tests can bear. */
const passwordCost = { memoryKiB: 64, passes: 1 };

/** An address without an account. */
export const newAddress = () => `user-${newId()}@example.org`;
/** A code of the same form that is not this one. */
export const otherCode = (code: string) => (code === "000000" ? "111111" : "000000");

export interface IdentityBenchOptions {
  /** Goes around the provider, e.g. to let it fail. */
  around?: (provider: IdentityProvider) => IdentityProvider;
  /** Other services on the same node. */
  services?: ServiceSchema[];
  /** Settings beside those that the bench makes; those of a Keycloak put it in the built-in provider's place. */
  settings?: Partial<Settings>;
  /** The time limit of a call. Default: so long that a call also ends in time on a busy machine. */
  requestTimeoutMs?: number;
}

/**
 * Identity and media on a node with a real database, and a second node that calls them as the gateway does. Their
 * messages are collected in place of a consumer's inbox.
 */
export async function startIdentity({
  around = (provider) => provider,
  services = [],
  settings = {},
  requestTimeoutMs = REQUEST_TIMEOUT_MS,
}: IdentityBenchOptions = {}) {
  const database = await createDatabase("identity");
  const dataDir = mkdtempSync(join(tmpdir(), "waybill-identity-"));
  const seen: Message[] = [];
  const messageBus = inProcessMessageBus({ groups: ["tests"] });
  await messageBus.subscribe("tests", TYPES, async (messages) => {
    seen.push(...(messages as Message[]));
  });
  const config = {
    ...readSettings({ DATA_DIR: dataDir }),
    ...patientSettings,
    POSTGRES_URL_IDENTITY: database.url,
    POSTGRES_URL_ORDERS: "",
    POSTGRES_URL_PARTNERS: "",
    POSTGRES_URL_NOTIFICATIONS: "",
    PUBLIC_URL: TEST_ISSUER,
    SMTP_URL: "",
    BRIDGE_SECRET: "bridge-secret-of-the-tests-0123456789",
    HANDOVER_SECRET: "handover-secret-of-the-tests-0123456",
    SEAL_SECRET,
    ...settings,
  };
  const issuer = tokenIssuer(config);
  const { sql, close } = onlooker(database.url);
  const platform = newId();
  const node = (nodeID: string, namespace: string = platform) =>
    new ServiceBroker({
      ...brokerOptions({
        requestTimeoutMs,
        nodeID,
        namespace,
        transporter: "Fake",
        logLevel: "fatal",
        json: false,
        middlewares: [callerMiddleware({ issuer })],
      }),
      logger: false,
    });
  const [inside, edge] = [node("identity"), node("edge")];
  const encryptionKeys = { secret: config.SEAL_SECRET };
  const make = config.KEYCLOAK_URL
    ? providerOf(config, systemClock)
    : (sql: Sql) => builtInProvider({ sql, encryptionKeys, issuer, audience: AUDIENCE, passwordCost });
  const provider = (sql: Sql) => around(make(sql));
  inside.createService(identityService({ config, messageBus, provider }));
  inside.createService(mediaService({ config }));
  const openOrders = new Map<string, string[]>();
  const orders: ServiceSchema = {
    name: "orders",
    actions: {
      openOf: implement("orders.openOf", async (ctx) => ({
        orderIds: openOrders.get(callerOf(ctx).id) ?? [],
      })),
      exportPage: implement("orders.exportPage", async ({ params }) => stand.exportOrders(params)),
    },
  };
  const notifications: ServiceSchema = {
    name: "notifications",
    actions: {
      exportPage: implement("notifications.exportPage", async () => ({ page: { notifications: [] } })),
    },
  };
  /** Answers for Orders. */
  const stand: { exportOrders(params: Params<"orders.exportPage">): Promise<Result<"orders.exportPage">> } = {
    exportOrders: async () => ({ page: { addresses: [], orders: [] } }),
  };
  // Of two services with one name on a node, the actions of the second would not be found.
  const hasNotifications = services.some(({ name }) => name === notifications.name);
  const others = services
    .filter(({ name }) => name !== orders.name)
    .concat(hasNotifications ? [] : [notifications]);
  const given = services.filter(({ name }) => name === orders.name);
  for (const service of [{ ...orders, mixins: given }, ...others]) inside.createService(service);
  await Promise.all([inside.start(), edge.start()]);
  await edge.waitForServices(["identity", "media"]);

  const ask = <N extends ActionName>(name: N, params: Params<N>, meta: Meta = {}): Promise<Result<N>> =>
    call(edge, name, params, { meta });

  /** The data of the newest message of a type that fits. */
  const said = <T extends SeenType>(type: T, fits: (data: MessageData<T>) => boolean = () => true) =>
    eventually(() => {
      const found = seen.findLast((one) => one.type === type && fits(one.data as MessageData<T>));
      if (!found) throw new Error(`no ${type} yet`);
      return found.data as MessageData<T>;
    });
  /** Runs `work` and returns the values of the mail of this template that it causes to be sent. */
  const mailed = async (email: string, template: string, work: () => Promise<unknown>) => {
    const before = seen.length;
    await work();
    return eventually(() => {
      const letters = seen.slice(before).filter(({ type }) => type === "notification.requested");
      const found = letters.map(({ data }) => data as MessageData<"notification.requested">);
      const letter = found.find((one) => one.email === email && one.template === template);
      if (!letter) throw new Error(`no ${template} for ${email} yet`);
      if (letter.sealed === undefined) return letter.values;
      return JSON.parse(decrypt(letter.sealed, encryptionKeys, mailAad(letter))) as Record<string, string>;
    });
  };

  async function registered(more: Partial<Params<"identity.register">> = {}) {
    const email = more.email ?? newAddress();
    const person = { email, password: PASSWORD, firstName: "Grete", lastName: "Hansen", ...more };
    let userId = "";
    const { code = "" } = await mailed(email, "confirm-email", async () => {
      userId = (await ask("identity.register", person)).userId;
    });
    return { email, userId, code };
  }
  async function signIn(email: string, password = PASSWORD, meta: Meta = {}): Promise<Tokens> {
    return ask("identity.signIn", { email, password }, meta);
  }
  /** A confirmed customer with a session. */
  async function customer(more: Partial<Params<"identity.register">> = {}) {
    const { email, userId, code } = await registered(more);
    await ask("identity.confirm", { email, code });
    const tokens = await signIn(email, more.password);
    return { email, userId, tokens, meta: { token: tokens.accessToken } };
  }
  async function admin() {
    const email = `admin-${newId()}@example.org`;
    const { userId } = await call(inside, "identity.createAdmin", { email, password: PASSWORD });
    const tokens = await signIn(email);
    return { email, userId, tokens, meta: { token: tokens.accessToken } };
  }
  /** Staff by invitation of an admin. */
  async function invited(role: Exclude<Role, "customer">, more: Partial<Params<"identity.invite">> = {}) {
    const { meta } = await admin();
    const email = more.email ?? `staff-${newId()}@example.org`;
    const { token = "" } = await mailed(email, "invitation", () =>
      ask("identity.invite", { email, role, ...more }, meta),
    );
    return { email, token };
  }
  async function staff(role: Exclude<Role, "customer">, more: Partial<Params<"identity.invite">> = {}) {
    const { email, token } = await invited(role, more);
    const person = { token, password: PASSWORD, firstName: "Jonas", lastName: "Meier" };
    const { userId } = await ask("identity.acceptInvitation", person);
    const tokens = await signIn(email);
    return { email, userId, tokens, meta: { token: tokens.accessToken } };
  }

  return {
    inside,
    edge,
    database,
    /** The orders that Orders says a customer has open. */
    openOrders,
    stand,
    seen,
    ask,
    said,
    mailed,
    registered,
    customer,
    admin,
    invited,
    staff,
    signIn,
    /** Starts a replica, which does the periodic work, and stops it when `done` succeeds. */
    async sweep(done: () => Promise<unknown>) {
      const replica = node("replica", newId());
      replica.createService(identityService({ config, messageBus, provider }));
      await replica.start();
      try {
        await eventually(done);
      } finally {
        await replica.stop();
      }
    },
    /** The keys of the objects that media keeps. */
    stored: () =>
      readdirSync(join(dataDir, "media"), { recursive: true, encoding: "utf8" }).map((name) =>
        name.replaceAll("\\", "/"),
      ),
    sql,
    async stop() {
      await edge.stop();
      await inside.stop();
      await messageBus.close();
      await close();
      await database.drop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export type IdentityBench = Awaited<ReturnType<typeof startIdentity>>;
