import { randomBytes } from "node:crypto";
import { newId } from "../../lib/ids.ts";
import { pushReceiver } from "../../sandbox/push/receiver.ts";
import { jsonOf, newRoutes, serve } from "../../sandbox/web.ts";
import { type Client, connect } from "../e2e/client.ts";
import { admin, customer, invited, type Kitchen, kitchen, PASSWORD, type Received } from "../e2e/world.ts";
import { type FaultBank, startBank } from "./bank.ts";
import { type FaultClient, faultClient } from "./client.ts";
import type { FaultCluster } from "./cluster.ts";
import type { Ledger } from "./ledger.ts";

const KITCHENS = 3;
const CUSTOMERS = 6;
export const STOCK = 100_000;
/** Access tokens live for ten minutes. */
const TOKEN_KEPT_MS = 420_000;

export interface Somebody {
  id: string;
  email: string;
  password: string;
}

/** The external parties of the platform: a bank, kitchens, customers, a courier and the operator. */
export interface World {
  readonly api: Client;
  readonly client: FaultClient;
  readonly bank: FaultBank;
  readonly bankId: string;
  readonly webhookSecret: string;
  readonly kitchens: Kitchen[];
  readonly customers: Somebody[];
  readonly courier: Somebody;
  readonly operator: Somebody;
  /** Told of each genuine call of a kitchen's system that it answered with 2xx for the first time. */
  heard: (kitchen: Kitchen, event: Received) => void;
  /** The status that a kitchen answers. Default: 204. */
  mood: (kitchen: Kitchen, event: Received) => number;
  tokenOf(who: Somebody): Promise<string>;
  /** Called at the end of the run: whom a scenario has brought in, the platform may have to tell something later. */
  readonly leaving: (() => unknown)[];
  stop(): Promise<void>;
}

export async function makeWorld(cluster: FaultCluster, ledger: Ledger): Promise<World> {
  const urls = cluster.gateways.map(({ url }) => url);
  const api = await connect(async () => ({
    url: urls[0] ?? "",
    alsoAt: urls.slice(1),
    sandboxUrl: cluster.sandboxUrl,
    opsUrl: "",
    dataDir: "",
    adminEmail: cluster.admin.email,
    adminPassword: cluster.admin.password,
  }));
  const root = await admin(api);
  const apiKey = randomBytes(24).toString("hex");
  const webhookSecret = `whsec_${randomBytes(32).toString("base64")}`;
  const bank = await startBank(apiKey);
  const { id: bankId } = await api.ok<{ id: string }>("POST /banks", {
    token: root,
    key: newId(),
    body: {
      title: `Bank ${newId()}`,
      adapter: "sandbox",
      settings: { apiKey, webhookSecret },
      webcheckout_url: bank.url,
      active: true,
    },
  });
  const phones = await startPhones(ledger);
  await api.ok("POST /agents", {
    token: root,
    key: newId(),
    body: {
      name: "Phones",
      priority: 1,
      providers: ["sandbox"],
      settings: [{ provider: "sandbox", values: { url: `${phones.url}/push/send` } }],
      enabled: true,
    },
  });
  const kitchens: Kitchen[] = [];
  for (let n = 0; n < KITCHENS; n += 1) {
    kitchens.push(
      await kitchen(api, root, [
        { price: 950, stock: STOCK },
        { price: 420, stock: STOCK },
      ]),
    );
  }
  const customers: Somebody[] = [];
  for (let n = 0; n < CUSTOMERS; n += 1) customers.push(await customer(api));
  const courier = await invited(api, root, { role: "deliverer" });
  const client = faultClient(urls, ledger);
  const tokens = new Map<string, { token: Promise<string>; untilMs: number }>();

  const world: World = {
    ...{ api, client, bank, bankId, webhookSecret, kitchens, customers },
    courier: { id: courier.id, email: courier.email, password: PASSWORD },
    operator: { id: "", ...cluster.admin },
    heard: () => undefined,
    mood: () => 204,
    leaving: [],
    async tokenOf({ email, password }) {
      const kept = tokens.get(email);
      if (kept && performance.now() < kept.untilMs) return await kept.token;
      const token = client
        .settle<{ access_token: string }>("POST /sessions", { body: { email, password } })
        .then(({ body, status }) => {
          if (status !== 200 && status !== 201) throw new Error(`signing in answered ${status}`);
          return body.access_token;
        });
      tokens.set(email, { token, untilMs: performance.now() + TOKEN_KEPT_MS });
      return await token;
    },
    async stop() {
      client.stop();
      for (const leave of world.leaving) await leave();
      await Promise.all(kitchens.map((one) => one.close()));
      bank.stop();
      await phones.stop();
    },
  };
  const known = new Set<string>();
  for (const one of kitchens) {
    one.answer = (event) => {
      const status = world.mood(one, event);
      const { id: webhookId, type } = event;
      ledger.told.push({ partnerId: one.partnerId, webhookId, type, orderId: event.data.order_id, status });
      if (status < 300 && !known.has(webhookId)) {
        known.add(webhookId);
        setImmediate(() => world.heard(one, event));
      }
      return status;
    };
  }
  return world;
}

/** Phones that write down every push, also those that the sandbox's own would show once. */
async function startPhones(ledger: Ledger) {
  const receiver = pushReceiver("/push");
  return await serve(
    newRoutes()
      .post("/push/send", async (c) => {
        const body = (await jsonOf(c)) as {
          token: string;
          collapse_id: string;
          data?: Record<string, string>;
        };
        const { event = "", orderId = "" } = body.data ?? {};
        ledger.pushes.push({ token: body.token, collapseId: body.collapse_id, event, orderId });
        return c.json({}, 202);
      })
      .route("/", receiver.routes),
    { host: "127.0.0.1", port: 0 },
  );
}
