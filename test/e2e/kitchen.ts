import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";
import { newId } from "../../lib/ids.ts";
import type { Client } from "./client.ts";

export const home = {
  line1: "Kastanienallee 77",
  city: "Berlin",
  postal_code: "10435",
  country: "DE",
  position: { latitude: 52.5386, longitude: 13.4098 },
};
/** Where the tests' kitchens are. */
export const pickup = {
  line1: "Große Bergstraße 12",
  city: "Hamburg",
  postal_code: "22767",
  country: "DE",
  position: { latitude: 53.5503, longitude: 9.9454 },
};
const alwaysOpen = {
  time_zone: "Europe/Berlin",
  spans: Array.from({ length: 7 }, (_, weekday) => ({ weekday, from_minute: 0, until_minute: 1440 })),
};

export interface Received {
  type: string;
  id: string;
  /** The trace that the call said it belongs to. */
  traceparent?: string | undefined;
  data: { order_id: string; callback_url: string; lines: { product_id: string; quantity: number }[] };
}

/** A partner with its own system, which records its webhooks and answers as the test configures. */
export interface Kitchen {
  partnerId: string;
  title: string;
  products: string[];
  secret: string;
  received: Received[];
  /** The status that its system answers. Default: 204. */
  answer: (event: Received) => number;
  /** The number of webhooks with a wrong signature. */
  forged: number;
  /** Tells the platform, signed, by the callback that came with the order. */
  say(type: string, orderId: string, more?: Saying): Promise<{ status: number; body: string }>;
  close(): Promise<void>;
}

interface Saying {
  data?: object;
  /** The same id is the same event. */
  id?: string;
  secret?: string;
  at?: Date;
  /** The trace that the callback continues. */
  traceparent?: string | undefined;
}

export interface Stocked {
  price: number;
  stock?: number;
}

/** Adds a partner that is open at any hour, with products and no system. */
export async function kitchenWithoutSystem(
  api: Client,
  adminToken: string,
  stocked: Stocked[] = [{ price: 950 }, { price: 420 }],
  settings: { proof?: "pin" | "pin_and_photo"; acceptance_minutes?: number } = {},
): Promise<Pick<Kitchen, "partnerId" | "title" | "products">> {
  const mark = newId().slice(-12);
  const title = `Kitchen ${mark}`;
  const made = await api.ok<{ id: string }>("POST /partners", {
    token: adminToken,
    key: newId(),
    body: {
      title,
      phone: "+493055501001",
      email: `kitchen-${mark}@partners.example`,
      address: pickup,
      currency: "EUR",
      delivery_fee_minor: 290,
      preparation_minutes: 10,
      proof: "pin",
      ...settings,
    },
  });
  const at = `/partners/${made.id}`;
  await api.ok(`PUT ${at}/hours`, { token: adminToken, body: alwaysOpen });
  await api.ok(`PATCH ${at}`, { token: adminToken, body: { verified: true, enabled: true } });
  const products = await Promise.all(
    stocked.map(async ({ price, stock }, index) => {
      const body = {
        title: `Dish ${index} ${mark}`,
        price: { amount_minor: price, currency: "EUR" },
        ...(stock !== undefined && { stock }),
      };
      return (
        await api.ok<{ product_id: string }>(`POST ${at}/products`, { token: adminToken, key: newId(), body })
      ).product_id;
    }),
  );
  return { partnerId: made.id, title, products };
}

/** Adds a partner that is open at any hour, with products and a system that is listening. */
export async function kitchen(
  api: Client,
  adminToken: string,
  stocked?: Stocked[],
  proof: "pin" | "pin_and_photo" = "pin",
) {
  const { partnerId, title, products } = await kitchenWithoutSystem(api, adminToken, stocked, { proof });
  const system = await partnerSystem(api, partnerId);
  const endpoint = await api.ok<{ secret: string }>(`PUT /partners/${partnerId}/webhook`, {
    token: adminToken,
    body: { url: system.url, enabled: true },
  });
  return Object.assign(system.kitchen, {
    title,
    products,
    secret: endpoint.secret,
  }) satisfies Kitchen as Kitchen;
}

async function partnerSystem(api: Client, partnerId: string) {
  const open: Kitchen = {
    partnerId,
    title: "",
    products: [],
    secret: "",
    received: [],
    forged: 0,
    answer: () => 204,
    async say(
      type,
      orderId,
      { data = {}, id = newId(), secret = open.secret, at = new Date(), traceparent } = {},
    ) {
      const body = JSON.stringify({
        type,
        timestamp: at.toISOString(),
        data: { order_id: orderId, ...data },
      });
      const { status, bytes } = await api.request(`POST /webhooks/partners/${partnerId}`, {
        headers: { ...signed(secret, id, at, body), ...(traceparent && { traceparent }) },
        body,
      });
      return { status, body: bytes.toString() };
    },
    close: () => closed(server),
  };
  const server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk) => chunks.push(chunk));
    req.on("end", () => {
      try {
        const body = Buffer.concat(chunks).toString("utf8");
        const event = new Webhook(open.secret).verify(
          body,
          req.headers as Record<string, string>,
        ) as Received;
        const { "webhook-id": id, traceparent } = req.headers;
        const received = { ...event, id: String(id), traceparent: traceparent as string | undefined };
        open.received.push(received);
        res.writeHead(open.answer(received)).end();
      } catch {
        open.forged += 1;
        res.writeHead(401).end();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { kitchen: open, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` };
}

/** The headers of Standard Webhooks. */
export function signed(secret: string, id: string, at: Date, body: string): Record<string, string> {
  return {
    "Content-Type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, at, body),
  };
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
