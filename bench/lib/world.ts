import { randomBytes, randomUUID } from "node:crypto";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import type { RunningPlatform } from "./platform.ts";

const MAIL_TIMEOUT_MS = 10_000;
const PRODUCTS = 200;
const ALWAYS = Array.from({ length: 7 }, (_, weekday) => ({ weekday, from_minute: 0, until_minute: 1440 }));
const ADDRESS = { line1: "Main Street 1", city: "Berlin", postal_code: "10115", country: "DE" };

/** A partner, its products, a bank and customers, made through the public API. */
export interface World {
  partnerId: string;
  productIds: string[];
  bankId: string;
  customerTokens: string[];
  /** What the bank would send for this payment: signed headers and body. */
  paymentCallback(orderId: string, amountMinor: number): { headers: Record<string, string>; body: string };
  cart(productId: string): string;
  close(): void;
}

export async function makeWorld(platform: RunningPlatform, customers: number): Promise<World> {
  const admin = await signIn(platform, platform.admin.email, platform.admin.password);
  const { bankId, webhook, server } = await makeBank(platform, admin);
  const system = await listening((_request, response) => response.writeHead(204).end());
  const partnerId = await makePartner(platform, admin, system.url);
  const productIds: string[] = [];
  for (let n = 0; n < PRODUCTS; n++) {
    const product = { title: `Dish ${n}`, price: { amount_minor: 1000 + n, currency: "EUR" } };
    productIds.push(
      (await api(platform, `/partners/${partnerId}/products`, admin, product)).product_id as string,
    );
  }
  const customerTokens: string[] = [];
  for (let n = 0; n < customers; n++) customerTokens.push(await newCustomer(platform));
  return {
    partnerId,
    productIds,
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
    cart: (productId) =>
      JSON.stringify({
        partner_id: partnerId,
        lines: [{ product_id: productId, quantity: 1 }],
        address: ADDRESS,
      }),
    close() {
      server.close();
      system.server.close();
    },
  };
}

/** A program outside of the platform that answers at once, so that the platform's own work is what is measured. */
async function listening(answer: RequestListener): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => answer(request, response));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function makeBank(platform: RunningPlatform, admin: string) {
  const { server, url } = await listening((_request, response) => {
    const id = randomUUID();
    response.writeHead(201, { "content-type": "application/json" });
    response.end(JSON.stringify({ id, url: `http://127.0.0.1/pay/${id}` }));
  });
  const secret = `whsec_${randomBytes(24).toString("base64")}`;
  const bank = await api(platform, "/banks", admin, {
    title: `Bench ${randomUUID()}`,
    adapter: "sandbox",
    settings: { apiKey: randomBytes(16).toString("hex"), webhookSecret: secret },
    webcheckout_url: url,
    active: true,
  });
  return { bankId: bank.id as string, webhook: new Webhook(secret), server };
}

async function makePartner(platform: RunningPlatform, admin: string, systemUrl: string): Promise<string> {
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

async function newCustomer(platform: RunningPlatform): Promise<string> {
  const email = `bench-${randomUUID()}@example.com`;
  const password = randomBytes(12).toString("hex");
  await api(platform, "/users", undefined, { email, password, first_name: "Bench", last_name: "Mark" });
  await api(platform, "/users/confirm", undefined, { email, code: await codeFor(platform, email) });
  return signIn(platform, email, password);
}

async function codeFor(platform: RunningPlatform, email: string): Promise<string> {
  const until = Date.now() + MAIL_TIMEOUT_MS;
  while (Date.now() < until) {
    const mails = await fetch(`${platform.sandboxUrl}/mailbox.json?to=${encodeURIComponent(email)}`);
    const [mail] = (await mails.json()) as { text: string }[];
    const code = mail && /\b\d{6}\b/.exec(mail.text)?.[0];
    if (code) return code;
    await delay(50);
  }
  throw new Error(`no code came to ${email}`);
}

async function signIn(platform: RunningPlatform, email: string, password: string): Promise<string> {
  return (await api(platform, "/sessions", undefined, { email, password })).access_token as string;
}

async function api(
  platform: RunningPlatform,
  path: string,
  token: string | undefined,
  body: object,
  method = "POST",
): Promise<Record<string, unknown>> {
  const response = await fetch(platform.apiUrl + path, {
    method,
    headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text === "" ? {} : JSON.parse(text);
}
