import { answered, type Schemas, sessionOf } from "@waybill/client";
import { shortenLine } from "../../lib/text.ts";
import { sandboxPartners } from "../catalogue.ts";
import { amountText } from "../layout.ts";
import { type DemoClient, waitFor } from "./client.ts";
import { DemoError } from "./pages.ts";
import type { Terminal } from "./terminal.ts";

type Order = Schemas["Order"];
type Money = Schemas["Money"];

export interface Demo {
  client: DemoClient;
  terminal: Terminal;
}

const TITLE_WIDTH = 38;
const text = ({ amount_minor: minor, currency }: Money) => amountText(minor, currency);
const LONG_ID = /^[0-9a-f]{8}-/;
const short = (id: string) => (LONG_ID.test(id) ? `…${id.slice(-6)}` : id);

interface Customer {
  id: string;
  /** The push token of the phone. */
  phone: string;
}

/** Scenario 1: signs up with a phone for pushes, confirms with the mailed code and signs in. */
export async function register({ client, terminal }: Demo): Promise<Customer> {
  terminal.step(1, "Register", "A customer signs up, confirms the code from the mailbox and signs in.");
  const suffix = crypto.randomUUID().slice(0, 8);
  const email = `zoe.${suffix}@customers.example`;
  const password = `correct-horse-${suffix}`;
  const phone = `phone-${suffix}`;
  const body = {
    email,
    password,
    first_name: "Zoë",
    last_name: "Brandt",
    phone: "+4915112345678",
    language: "en" as const,
    push_token: { provider: "sandbox" as const, token: phone, device_name: "Zoë's phone" },
  };
  const user = await client.shown(
    "POST /users",
    client.api.POST("/users", { body }),
    ({ user_id: id }) => `user ${short(id)}, ${email}`,
  );
  const code = await waitFor(
    () => "the code by e-mail",
    async () => {
      const mails = await client.sandbox<{ text: string }[]>(`/mailbox.json?to=${encodeURIComponent(email)}`);
      return mails.map((mail) => /\b(\d{6})\b/.exec(mail.text)?.[1]).find(Boolean);
    },
  );
  terminal.event(`mail to ${email}: the code is ${code}`);
  await client.shown(
    "POST /users/confirm",
    client.api.POST("/users/confirm", { body: { email, code } }),
    () => "the address is confirmed",
  );
  const tokens = await client.shown(
    "POST /sessions",
    client.api.POST("/sessions", { body: { email, password } }),
    ({ expires_in_seconds: seconds }) => `access token for ${seconds / 60} minutes, refresh token`,
  );
  client.api.signedInWith(sessionOf(tokens));
  await client.shown("GET /me", client.api.GET("/me"), (me) => `${me.first_name}, ${me.role}`);
  return { id: user.user_id, phone };
}

/** Scenario 2: lists partners and products. */
export async function browse({ client, terminal }: Demo) {
  terminal.step(2, "List products", "What partners offer at this moment, with prices, page by page.");
  const partners = await client.shown(
    "GET /partners?limit=100",
    client.api.GET("/partners", { params: { query: { limit: 100 } } }),
    ({ items }) => `${items.length} partners`,
  );
  const known = sandboxPartners.map(({ fields }) => fields.title);
  const partner = partners.items.find(({ title, open }) => open && known.includes(title));
  if (!partner) throw new DemoError("no partner of the sandbox is open");
  const offers = await client.shown(
    `GET /products?partner_id=${partner.id}&limit=4`,
    client.api.GET("/products", { params: { query: { partner_id: partner.id, limit: 4 } } }),
    ({ items, next_cursor: more }) =>
      `${items.length} of ${partner.title}${more ? ", and there is a next page" : ""}`,
  );
  for (const { title, price } of offers.items) terminal.row(title.padEnd(34), text(price).padStart(10));
  if (offers.items.length < 2) throw new DemoError(`${partner.title} offers too little`);
  return { partner, offers: offers.items };
}

type Choice = Awaited<ReturnType<typeof browse>>;

/** Scenario 3: checks the cart. */
export async function check({ client, terminal }: Demo, { partner, offers }: Choice): Promise<string> {
  terminal.step(
    3,
    "Check",
    "Prices come from the partner's catalogue, never from the customer, and are valid for ten minutes.",
  );
  const body = {
    partner_id: partner.id,
    lines: offers.slice(0, 2).map(({ product_id }, i) => ({ product_id, quantity: i + 1 })),
    address: {
      line1: "Kastanienallee 77",
      city: "Berlin",
      postal_code: "10435",
      country: "DE",
      position: { latitude: 52.5386, longitude: 13.4098 },
    },
    note: "Second floor, please ring twice.",
  };
  const quote = await client.shown(
    "POST /orders/check",
    client.api.POST("/orders/check", { body }),
    ({ fee, total }) => `total ${text(total)}, of which delivery ${text(fee)}`,
  );
  return quote.check_id;
}

/** Scenario 4: confirms the order. */
export async function confirm({ client, terminal }: Demo, checkId: string) {
  terminal.step(
    4,
    "Confirm",
    "The platform reserves the stock, stores the order, and opens a checkout at the bank.",
  );
  const banks = await client.shown("GET /banks", client.api.GET("/banks"), ({ items }) =>
    items.map(({ title }) => title).join(", "),
  );
  const bank = banks.items.find(({ adapter, active }) => adapter === "sandbox" && active);
  if (!bank) throw new DemoError("no bank of the sandbox is active");
  return client.shown(
    "POST /orders/confirm",
    client.api.POST("/orders/confirm", { body: { check_id: checkId, bank_id: bank.id } }),
    (order) => `order ${short(order.order_id)} is ${order.status}, to be paid at ${order.checkout_url}`,
  );
}

async function untilState({ client, terminal }: Demo, orderId: string, ...states: string[]): Promise<Order> {
  const params = { path: { order_id: orderId } };
  const startMs = performance.now();
  let last = "";
  const order = await waitFor(
    () => `the state ${states[0]} (the order is ${last})`,
    async () => {
      const now = await answered(client.api.GET("/orders/{order_id}", { params }));
      last = now.status;
      return states.includes(last) ? now : undefined;
    },
  );
  terminal.event(`the order is ${order.status} after ${Math.round(performance.now() - startMs)} ms`);
  return order;
}

/** Scenario 5: pays on the bank's page. */
export async function pay(demo: Demo, orderId: string, checkoutUrl: string): Promise<void> {
  demo.terminal.step(5, "Pay", "The customer presses Pay on the bank's page; the bank calls back, signed.");
  await demo.client.submit(checkoutUrl, { action: "pay" }, "the checkout page, button Pay");
  await untilState(demo, orderId, "paid", "preparing", "ready", "delivering");
}

/** Scenario 6: the partner's system accepts and prepares. */
export async function prepare(demo: Demo, orderId: string): Promise<void> {
  demo.terminal.step(
    6,
    "Ready",
    "The partner's system received a signed webhook. It accepts, prepares and calls back.",
  );
  await untilState(demo, orderId, "preparing", "ready", "delivering");
  await untilState(demo, orderId, "ready", "delivering");
}

/** Scenario 7: the order is assigned to a deliverer, and the customer's phone shows a push. */
export async function assign(demo: Demo, orderId: string, phone: string): Promise<void> {
  const { client, terminal } = demo;
  terminal.step(7, "Assign", "The order is assigned to a deliverer; the customer's phone gets a push.");
  await untilState(demo, orderId, "delivering");
  const push = await waitFor(
    () => "the push",
    async () => {
      const pushes = await client.sandbox<{ title: string; body: string; data: Record<string, string> }[]>(
        `/push.json?token=${phone}`,
      );
      return pushes.find(({ data }) => data.event === "order.assigned");
    },
  );
  terminal.event(`push on the phone: ${push.title}. ${push.body}`);
}

/** Scenario 8: the ride and the handover. */
export async function deliver(demo: Demo, orderId: string): Promise<void> {
  const { client, terminal } = demo;
  terminal.step(8, "Deliver", "The courier rides. At the door the customer gives the PIN.");
  const order = await client.shown(
    `GET /orders/${orderId}`,
    client.api.GET("/orders/{order_id}", { params: { path: { order_id: orderId } } }),
    ({ pin }) => `only the customer sees the PIN ${pin}`,
  );
  const params = { path: { token: order.tracking_token ?? "" } };
  await waitFor(
    () => "the courier's position",
    async () => (await answered(client.api.GET("/track/{token}", { params }))).position,
  );
  await client.shown(
    `GET /track/${order.tracking_token}`,
    client.api.GET("/track/{token}", { params }),
    ({ status, position }) =>
      `anybody with this link sees: ${status}, at ${position?.latitude}, ${position?.longitude}`,
  );
  await client.post(`/courier/orders/${orderId}/pin`, { pin: order.pin }, "the courier has handed it over");
  await untilState(demo, orderId, "delivered");
}

/** Scenario 9: the notifications of the customer and the history of the order. */
export async function lookBack(
  { client, terminal }: Demo,
  orderId: string,
  customerId: string,
): Promise<void> {
  terminal.step(
    9,
    "Look back",
    "The notifications of the customer with their channels, and the history of the order.",
  );
  const params = { query: { limit: 50 } };
  await waitFor(
    () => "the last notification",
    async () => {
      const { items } = await answered(client.api.GET("/me/notifications", { params }));
      return items.find(({ event }) => event === "order.delivered");
    },
  );
  const notifications = await client.shown(
    "GET /me/notifications?limit=50",
    client.api.GET("/me/notifications", { params }),
    ({ items }) => `${items.length} notifications`,
  );
  for (const { event, title, attempts } of notifications.items.reverse()) {
    const last = attempts.at(-1);
    terminal.row(
      event.padEnd(16),
      shortenLine(title, TITLE_WIDTH).padEnd(TITLE_WIDTH),
      last ? `${last.channel} ${last.outcome}` : "",
    );
  }
  const history = await client.shown(
    `GET /orders/${orderId}/history`,
    client.api.GET("/orders/{order_id}/history", { params: { path: { order_id: orderId } } }),
    ({ items }) => `${items.length} events`,
  );
  for (const { at, type, to, actor } of history.items) {
    const [kind = ""] = actor.split(":");
    const who = actor === customerId ? "customer" : LONG_ID.test(actor) ? "courier" : kind;
    terminal.row(at.slice(11, 23), type.padEnd(16), to.padEnd(10), `by the ${who}`);
  }
}
