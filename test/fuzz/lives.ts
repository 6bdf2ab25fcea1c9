import { newId } from "../../lib/ids.ts";
import type { Client } from "../e2e/client.ts";
import { kitchen, pickup } from "../e2e/kitchen.ts";
import { strayBank } from "../e2e/stray-bank.ts";
import {
  atCheckout,
  CODE,
  carriedOrder,
  customer,
  mailed,
  order,
  orderWhen,
  PASSWORD,
  readyOrder,
  signIn,
} from "../e2e/world.ts";
import { eventually } from "../support/eventually.ts";
import { png } from "./own.ts";
import type { FuzzWorld } from "./world.ts";

/**
 * Operations that need a code from an e-mail, a PIN or a token, which no generator can find. Each runs once as
 * intended, so that every operation has succeeded on the fuzzed platform.
 */
export async function lives(api: Client, { people, shop, ids }: FuzzWorld): Promise<void> {
  await api.ok(`PUT /partners/${shop.partnerId}/availability/${shop.products[0]}`, {
    ...people.admin,
    body: { price: { amount_minor: 700, currency: "EUR" }, active: true },
  });
  const counted = { title: "Counted", price: { amount_minor: 700, currency: "EUR" }, stock: 10 };
  const { product_id } = await api.ok<{ product_id: string }>(`POST /partners/${shop.partnerId}/products`, {
    ...{ ...people.admin, key: newId(), body: counted },
  });
  const offer = `/partners/${shop.partnerId}/availability/${product_id}`;
  await api.ok(`GET ${offer}`, people.admin);
  await api.ok(`POST ${offer}/stock`, { ...people.admin, key: newId(), body: { change: 5 } });
  await strayMoney(api, people, shop);
  await byOperators(api, people, shop);
  const somebody = await customer(api);
  const { email } = somebody;
  const { access_token: token } = await signIn(api, email);
  const { items } = await api.ok<{ items: { id: string; current: boolean }[] }>("GET /sessions", { token });
  await api.ok(`DELETE /sessions/${items.find(({ current }) => current)?.id}`, somebody);
  await api.ok("POST /sessions/refresh", { body: { refresh_token: somebody.refreshToken } });
  await api.ok("POST /users/confirm/resend", { body: { email } });
  const newEmail = `${newId()}@customers.example`;
  await api.ok("PATCH /me", { ...somebody, body: { email: newEmail, current_password: PASSWORD } });
  const code = await mailed(api, newEmail, CODE);
  await api.ok("POST /me/email/confirm", { ...somebody, key: newId(), body: { code } });
  await api.ok("POST /password/forgot", { body: { email: newEmail } });
  // The code of the change is in an older mail to this address.
  const reset = await mailed(api, newEmail, new RegExp(`\\b(?!${code})(\\d{6})\\b`));
  await api.ok("POST /password/reset", {
    body: { email: newEmail, code: reset, password: `new ${PASSWORD}` },
  });

  const undo = await mailed(api, email, /\/email\/undo#(\S+)/);
  await api.ok("POST /email/undo", { body: { token: undo } });

  const { customer: me, deliverer } = people;
  await api.ok(`PATCH /orders/${ids.pending_order_id}`, { ...me, body: { note: "Please ring twice." } });
  const image = await png();
  await api.ok("PUT /me/avatar", { ...me, image });
  await api.ok("GET /me/avatar", me);
  const order = (await carriedOrder(api, me, shop, deliverer)).order_id;
  const { number } = await api.ok<{ number: string }>(`GET /orders/${order}`, me);
  await api.ok(`POST /orders/${order}/pickup`, { ...deliverer, key: newId(), body: { code: number } });
  await api.ok("PUT /deliveries/duty", { ...deliverer, body: { on_duty: true } });
  await api.ok("POST /deliveries/position", { ...deliverer, body: { latitude: 52.52, longitude: 13.405 } });
  await declinedOffer(api, people);
  const { pin, tracking_token } = await api.ok<{ pin: string; tracking_token: string }>(
    `GET /orders/${order}`,
    me,
  );
  const stream = await api.follow(`GET /orders/${order}/events`, me);
  stream.end();
  (await api.follow(`GET /partners/${shop.partnerId}/events`, people.partner)).end();
  (await api.follow("GET /deliveries/events", deliverer)).end();
  (await api.follow("GET /events", people.admin)).end();
  await api.ok(`GET /track/${tracking_token}`);
  const position = { latitude: 52.52, longitude: 13.405 };
  await api.ok(`POST /orders/${order}/location`, { ...deliverer, body: position });
  const { photo_id } = await api.ok<{ photo_id: string }>(`PUT /orders/${order}/proof`, {
    ...deliverer,
    image,
  });
  await api.ok(`POST /orders/${order}/deliver`, { ...deliverer, key: newId(), body: { pin, photo_id } });
  await api.ok(`GET /orders/${order}/proof`, me);
  const other = (await carriedOrder(api, me, shop, deliverer)).order_id;
  await api.ok(`POST /orders/${other}/fail`, {
    ...deliverer,
    key: newId(),
    body: { reason: "Nobody at home." },
  });
  await api.ok(`POST /orders/${other}/cancel`, {
    ...people.admin,
    key: newId(),
    body: { reason: "Nobody at home, twice." },
  });
}

/** An order that is offered to the courier on duty, who declines. */
async function declinedOffer(api: Client, { customer: me, deliverer, admin }: FuzzWorld["people"]) {
  const own = await kitchen(api, admin.token);
  await api.ok(`PUT /partners/${own.partnerId}/assignment`, { ...admin, body: { assignment: "offer" } });
  const { position } = pickup;
  await api.ok("PUT /deliveries/duty", { ...deliverer, body: { on_duty: true, position } });
  const { order_id } = await readyOrder(api, me, own);
  await eventually(async () => {
    const { items } = await api.ok<{ items: { order_id: string }[] }>("GET /deliveries/offers", deliverer);
    if (!items.some((offer) => offer.order_id === order_id)) throw new Error("it is not offered yet");
  });
  await api.ok(`POST /orders/${order_id}/decline`, { ...deliverer, key: newId() });
  await own.close();
}

/** A user whom an operator suspends, restores and gives another role, and orders that end by hand. */
async function byOperators(
  api: Client,
  { customer: me, partner, admin }: FuzzWorld["people"],
  shop: FuzzWorld["shop"],
) {
  const user = await customer(api);
  const path = `/users/${user.id}`;
  const act = (operation: string, body?: object) =>
    api.ok(operation, {
      ...admin,
      ...(body && { body }),
      ...(operation.startsWith("POST") && { key: newId() }),
    });
  const { sessions } = await api.ok<{ sessions: { id: string }[] }>(`GET ${path}`, admin);
  await act(`DELETE ${path}/sessions/${sessions[0]?.id}`);
  await act(`POST ${path}/suspend`, { reason: "A stolen card." });
  await act(`POST ${path}/restore`);
  await act(`PUT ${path}/role`, { role: "deliverer" });
  await act(`DELETE ${path}/role`);
  for (const [by, end, body] of [
    [partner, "reject", { reason: "closing" }],
    [admin, "override", { to: "cancelled", reason: "By telephone." }],
  ] as const) {
    const { order_id, checkout_url } = await order(api, me, shop);
    await atCheckout(checkout_url, { action: "pay" });
    await orderWhen(api, me, order_id, ({ status }) => {
      if (status !== "paid") throw new Error(`the order is ${status}`);
    });
    await api.ok(`POST /orders/${order_id}/${end}`, { ...by, key: newId(), body });
  }
}

/** Money that names no order: sent back, tried once more after the bank's refusal, and assigned to an order. */
async function strayMoney(
  api: Client,
  { admin, customer: me }: FuzzWorld["people"],
  shop: FuzzWorld["shop"],
) {
  const bank = await strayBank(api, admin.token);
  const [first, second] = [await bank.pay(5_000), await bank.pay(100_000)];
  const body = { reason: "Not ours" };
  const { id } = await api.ok<{ id: string }>(`POST /payments/${first}/refund`, {
    ...admin,
    key: newId(),
    body,
  });
  await eventually(() => api.ok(`POST /refunds/${id}/retry`, { ...admin, key: newId(), body }));
  const { order_id } = await order(api, me, shop, { bankId: bank.bankId });
  await api.ok(`POST /payments/${second}/assign`, {
    ...{ ...admin, key: newId(), body: { order_id, reason: "By telephone" } },
  });
  bank.stop();
}
