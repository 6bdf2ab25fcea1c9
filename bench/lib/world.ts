import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import type { Peers } from "./peers.ts";
import type { RunningPlatform } from "./platform.ts";

const MAIL_TIMEOUT_MS = 10_000;
/** A platform that has just started on a busy machine may refuse some requests. */
const REPEATS_MAX = 10;
const REPEAT_DELAY_MS = 1_000;
const ALWAYS = Array.from({ length: 7 }, (_, weekday) => ({ weekday, from_minute: 0, until_minute: 1440 }));
const ADDRESS = { line1: "Main Street 1", city: "Berlin", postal_code: "10115", country: "DE" };

export interface Sizes {
  partners: number;
  /** Of each partner. */
  products: number;
  customers: number;
}

/** The parts of a running platform that its clients need. */
type Api = Pick<RunningPlatform, "apiUrl" | "admin">;

interface Shop {
  partnerId: string;
  productIds: string[];
}

/** Partners, their products, a bank and customers, made through the public API. */
export interface World {
  shops: Shop[];
  bankId: string;
  customerTokens: string[];
  /** The bank's report of this payment: signed headers and body. */
  paymentCallback(orderId: string, amountMinor: number): { headers: Record<string, string>; body: string };
  /** One product of one partner, chosen at random. */
  cart(): string;
}

export async function makeWorld(platform: Api, peers: Peers, sizes: Sizes): Promise<World> {
  const admin = await signIn(platform, platform.admin.email, platform.admin.password);
  const { bankId, webhook } = await makeBank(platform, admin, peers.bankUrl);
  const shops: Shop[] = [];
  for (let n = 0; n < sizes.partners; n++) {
    const partnerId = await makePartner(platform, admin, peers.partnersUrl);
    const productIds: string[] = [];
    for (let m = 0; m < sizes.products; m++) {
      const product = { title: `Dish ${m}`, price: { amount_minor: 1000 + m, currency: "EUR" } };
      productIds.push(
        (await api(platform, `/partners/${partnerId}/products`, admin, product)).product_id as string,
      );
    }
    shops.push({ partnerId, productIds });
  }
  const customerTokens: string[] = [];
  for (let n = 0; n < sizes.customers; n++) customerTokens.push(await newCustomer(platform, peers));
  return {
    shops,
    bankId,
    customerTokens,
    paymentCallback(orderId, amountMinor) {
      const paymentId = randomUUID();
      const body = JSON.stringify({
        type: "payment.succeeded",
        data: { payment_id: paymentId, order_id: orderId, amount_minor: amountMinor, currency: "EUR" },
      });
      const at = new Date();
      const headers = {
        "content-type": "application/json",
        "webhook-id": paymentId,
        "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
        "webhook-signature": webhook.sign(paymentId, at, body),
      };
      return { headers, body };
    },
    cart() {
      const { partnerId, productIds } = oneOf(shops);
      const lines = [{ product_id: oneOf(productIds), quantity: 1 }];
      return JSON.stringify({ partner_id: partnerId, lines, address: ADDRESS });
    },
  };
}

const oneOf = <T>(list: T[]) => list[Math.floor(Math.random() * list.length)] as T;

async function makeBank(platform: Api, admin: string, url: string) {
  const secret = `whsec_${randomBytes(24).toString("base64")}`;
  const bank = await api(platform, "/banks", admin, {
    title: `Bench ${randomUUID()}`,
    adapter: "sandbox",
    settings: { apiKey: randomBytes(16).toString("hex"), webhookSecret: secret },
    webcheckout_url: url,
    active: true,
  });
  return { bankId: bank.id as string, webhook: new Webhook(secret) };
}

async function makePartner(platform: Api, admin: string, systemUrl: string): Promise<string> {
  const partner = await api(platform, "/partners", admin, {
    title: `Bench ${randomUUID()}`,
    phone: "+4930123456",
    email: "bench@example.com",
    address: ADDRESS,
    currency: "EUR",
    delivery_fee_minor: 250,
    preparation_minutes: 20,
    proof: "pin",
  });
  const path = `/partners/${partner.id}`;
  await api(platform, path, admin, { verified: true, enabled: true }, "PATCH");
  await api(platform, `${path}/hours`, admin, { time_zone: "UTC", spans: ALWAYS }, "PUT");
  await api(platform, `${path}/webhook`, admin, { url: `${systemUrl}/orders`, enabled: true }, "PUT");
  return partner.id as string;
}

async function newCustomer(platform: Api, peers: Peers): Promise<string> {
  const email = `bench-${randomUUID()}@example.com`;
  const password = randomBytes(12).toString("hex");
  await api(platform, "/users", undefined, { email, password, first_name: "Bench", last_name: "Mark" });
  await api(platform, "/users/confirm", undefined, { email, code: await codeFor(peers, email) });
  return signIn(platform, email, password);
}

async function codeFor(peers: Peers, email: string): Promise<string> {
  const until = Date.now() + MAIL_TIMEOUT_MS;
  while (Date.now() < until) {
    const code = await peers.codeFor(email);
    if (code) return code;
    await delay(50);
  }
  throw new Error(`no code came to ${email}`);
}

async function signIn(platform: Api, email: string, password: string): Promise<string> {
  return (await api(platform, "/sessions", undefined, { email, password })).access_token as string;
}

async function api(
  platform: Api,
  path: string,
  token: string | undefined,
  body: object,
  method = "POST",
): Promise<Record<string, unknown>> {
  const headers = {
    "content-type": "application/json",
    // The key makes a repeat safe.
    ...(method === "POST" && { "idempotency-key": randomUUID() }),
    ...(token && { authorization: `Bearer ${token}` }),
  };
  const send = () => fetch(platform.apiUrl + path, { method, headers, body: JSON.stringify(body) });
  let response = await send();
  for (let repeats = 0; response.status === 503 && repeats < REPEATS_MAX; repeats++) {
    await delay(REPEAT_DELAY_MS);
    response = await send();
  }
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text === "" ? {} : JSON.parse(text);
}
