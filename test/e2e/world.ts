import type { OperatorRole } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import type { Client } from "./client.ts";
import { home, type Kitchen } from "./kitchen.ts";

export * from "./kitchen.ts";

export interface Money {
  amount_minor: number;
  currency: string;
}
export interface Order {
  id: string;
  status: string;
  payment_status: string;
  version: number;
  total: Money;
  fee: Money;
  paid: Money;
  refunded: Money;
  partner: { id: string; title: string; pickup: { line1: string } };
  lines: { product_id: string; quantity: number; unit_price: Money }[];
  address: typeof home;
  note?: string;
  pin?: string;
  tracking_token?: string;
  deliverer_id?: string;
  reason?: string;
}
export interface Person {
  id: string;
  email: string;
  password: string;
  token: string;
  refreshToken: string;
  /** The token of the sandbox's phone that gets the pushes. */
  phone: string;
}
interface Tokens {
  access_token: string;
  refresh_token: string;
}

export const PASSWORD = "correct horse battery staple";
/** The first thing in the mails to this address that the pattern finds, newest mail first. */
export async function mailed(api: Client, to: string, pattern: RegExp): Promise<string> {
  return await eventually(async () => {
    const found = (await mailsTo(api, to)).map((text) => pattern.exec(text)?.[1]);
    const first = found.find(Boolean);
    if (!first) throw new Error(`no mail to ${to} holds ${pattern}`);
    return first;
  });
}

/** The texts of the mails to this address, newest first. */
async function mailsTo({ sandboxUrl, mailpitUrl }: Client, to: string): Promise<string[]> {
  const read = async <T>(url: string) => (await (await fetch(url)).json()) as T;
  if (!mailpitUrl) {
    const mails = await read<{ text: string }[]>(`${sandboxUrl}/mailbox.json?to=${encodeURIComponent(to)}`);
    return mails.map(({ text }) => text);
  }
  const query = encodeURIComponent(`to:"${to}"`);
  const { messages } = await read<{ messages: { ID: string }[] }>(
    `${mailpitUrl}/api/v1/search?query=${query}&limit=10`,
  );
  return await Promise.all(
    messages.map(async ({ ID }) => (await read<{ Text: string }>(`${mailpitUrl}/api/v1/message/${ID}`)).Text),
  );
}

export const CODE = /\b(\d{6})\b/;

export async function signIn(api: Client, email: string, password = PASSWORD): Promise<Tokens> {
  return await api.ok<Tokens>("POST /sessions", { body: { email, password } });
}

export async function admin(api: Client): Promise<string> {
  return (await signIn(api, api.adminEmail, api.adminPassword)).access_token;
}

/**
 * Registers, confirms by the mailed code and signs in.
 * @param phoneIs how the sandbox's phone behaves: `phone` shows what comes, `refuse` refuses it
 */
export async function customer(
  api: Client,
  {
    name = "Zoë",
    phoneIs = "phone",
    ...more
  }: { name?: string; phoneIs?: string; [field: string]: unknown } = {},
): Promise<Person> {
  const mark = newId();
  const email = `${mark}@customers.example`;
  const phone = `${phoneIs}-${mark}`;
  const user = await api.ok<{ user_id: string }>("POST /users", {
    body: {
      email,
      password: PASSWORD,
      first_name: name,
      last_name: "Brandt-O’Neill",
      phone: "+4915112345678",
      push_token: { provider: "sandbox", token: phone, device_name: "My phone" },
      ...more,
    },
  });
  const code = await mailed(api, email, CODE);
  // On a busy machine the answer may be late and the address confirmed all the same: then the code is used up.
  let isRepeat = false;
  await eventually(async () => {
    const { status } = await api.request("POST /users/confirm", { body: { email, code } });
    if (status === 204 || (isRepeat && status === 422)) return;
    isRepeat = status === 503;
    throw new Error(`the confirmation answered ${status}`);
  });
  const tokens = await eventually(() => signIn(api, email));
  return person(user.user_id, email, tokens, phone);
}

/** Invites, accepts by the mailed token and signs in. */
export async function invited(
  api: Client,
  adminToken: string,
  invitation: { role: "deliverer" | "partner" | OperatorRole; partner_id?: string; partner_admin?: boolean },
): Promise<Person> {
  const email = `${newId()}@staff.example`;
  await api.ok("POST /invitations", { token: adminToken, body: { email, ...invitation }, key: newId() });
  const token = await mailed(api, email, /^ {4}(\S+)$/m);
  const body = { token, password: PASSWORD, first_name: "Dora", last_name: "Ritter" };
  const { status, body: user } = await api.request<{ user_id: string }>("POST /invitations/accept", { body });
  // Where the identity provider was busy, the answer may be late and the account there all the same.
  if (status !== 201 && status !== 503) throw new Error(`the invitation answered ${JSON.stringify(user)}`);
  const tokens = await eventually(() => signIn(api, email));
  const id = user.user_id ?? (await api.ok<{ id: string }>("GET /me", { token: tokens.access_token })).id;
  return person(id, email, tokens, "");
}

function person(id: string, email: string, tokens: Tokens, phone: string): Person {
  return {
    id,
    email,
    password: PASSWORD,
    token: tokens.access_token,
    refreshToken: tokens.refresh_token,
    phone,
  };
}

/** An override that is never used, because it is disabled. @returns its id */
export async function ownText(api: Client, root: string): Promise<string> {
  const place = { event: "order.paid:customer", language: "nb", channel: "email" };
  const body = { ...place, title: "Betalt", body: "{{total}} er mottatt.", enabled: false };
  return (await api.ok<{ id: string }>("POST /templates", { token: root, key: newId(), body })).id;
}

export interface Quote {
  check_id: string;
  expires_at: string;
  partner: { id: string };
  lines: { product_id: string; title: string; quantity: number; unit_price: Money }[];
  fee: Money;
  total: Money;
}

export async function check(
  api: Client,
  by: Person,
  at: Pick<Kitchen, "partnerId" | "products">,
  quantities = [2],
): Promise<Quote> {
  const lines = quantities.map((quantity, index) => ({ product_id: at.products[index] as string, quantity }));
  const body = { partner_id: at.partnerId, lines, address: home, note: "Please ring twice." };
  return await api.ok<Quote>("POST /orders/check", { token: by.token, body });
}

export interface Confirmation {
  order_id: string;
  status: string;
  checkout_url: string;
  callback_url: string;
  pay_by: string;
}

/** The bank of the sandbox. */
export async function sandboxBank(api: Client, by: Person): Promise<string> {
  const { items } = await api.ok<{ items: { id: string; title: string }[] }>("GET /banks", {
    token: by.token,
  });
  const bank = items.find(({ title }) => title === "Sandbox Pay");
  if (!bank) throw new Error("the sandbox's bank is not there");
  return bank.id;
}

/** Checks and confirms. */
export async function order(
  api: Client,
  by: Person,
  at: Pick<Kitchen, "partnerId" | "products">,
  options: { quantities?: number[]; bankId?: string } = {},
): Promise<Confirmation & { total: Money }> {
  const { check_id, total } = await check(api, by, at, options.quantities);
  const bank_id = options.bankId ?? (await sandboxBank(api, by));
  const body = { check_id, bank_id };
  const confirmed = await api.ok<Confirmation>("POST /orders/confirm", {
    token: by.token,
    key: newId(),
    body,
  });
  return { ...confirmed, total };
}

/** Presses a button of the bank's checkout page. */
export async function atCheckout(url: string, fields: Record<string, string>): Promise<void> {
  const page = await fetch(url, { method: "POST", body: new URLSearchParams(fields), redirect: "manual" });
  if (page.status !== 303) throw new Error(`the checkout page answered ${page.status}: ${await page.text()}`);
}

/** The order once it is as the check wants it, as its customer sees it. */
export async function orderWhen(
  api: Client,
  by: { token: string },
  id: string,
  wanted: (order: Order) => void,
): Promise<Order> {
  return await eventually(async () => {
    const seen = await api.ok<Order>(`GET /orders/${id}`, { token: by.token });
    wanted(seen);
    return seen;
  });
}

/** An order that waits for a deliverer: paid at the bank, accepted and ready in the kitchen. */
export async function readyOrder(api: Client, by: Person, at: Kitchen) {
  const made = await order(api, by, at);
  await atCheckout(made.checkout_url, { action: "pay" });
  await eventually(() => {
    if (!at.received.some(({ data }) => data.order_id === made.order_id))
      throw new Error("the kitchen was not told");
  });
  const said = await at.say("order.ready", made.order_id);
  if (said.status !== 202) throw new Error(`order.ready answered ${said.status}: ${said.body}`);
  return made;
}

/** A ready order that is assigned to this courier. */
export async function carriedOrder(api: Client, by: Person, at: Kitchen, courier: Person) {
  const made = await readyOrder(api, by, at);
  await api.ok(`POST /orders/${made.order_id}/assign`, { ...courier, key: newId() });
  return made;
}
