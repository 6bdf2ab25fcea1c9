import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect } from "./client.ts";
import { strayBank } from "./stray-bank.ts";
import {
  admin,
  carriedOrder,
  customer,
  invited,
  type Kitchen,
  kitchen,
  type Person,
  order as placeOrder,
} from "./world.ts";

interface Entry {
  id: string;
  actor_id?: string;
  action: string;
  subject: string;
  detail?: string;
}

/** Acts on dead letters, of which this platform has none; the specs of the inbox test their entries. */
const ON_DEAD_LETTERS = [
  "api.replayDeadLetter",
  "api.replayDeadLetters",
  "api.dropDeadLetter",
  "api.dropDeadLetters",
];
/** Told by their own names, since there is more to say than which action it was. */
const NAMED: Record<string, string> = {
  "identity.invite": "invitation.sent",
  "identity.withdrawInvitation": "invitation.withdrawn",
  "identity.resendInvitation": "invitation.resent",
  "identity.suspendUser": "user.suspended",
  "identity.restoreUser": "user.restored",
  "identity.setRole": "role.granted",
  "identity.removeRole": "role.removed",
  "identity.endUserSession": "session.ended",
  "identity.endUserSessions": "sessions.ended",
};
/** Other files of the run act on the same platform meanwhile. */
const AUDIT_PAGES_MAX = 10;
const PRICE = { amount_minor: 700, currency: "EUR" };

let api: Client;
let root: string;
let operator: Person;
let me: Person;
let shop: Kitchen;

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  // An operator of this file's own, by whom its entries are known from those of others.
  operator = await invited(api, root, { role: "admin" });
  [me, shop] = await Promise.all([customer(api), kitchen(api, root)]);
});
afterAll(() => shop?.close());

const done = new Map<string, string>();
/** Does it as the operator and remembers which operation that was. */
async function act<T>(operation: string, path: string, body?: unknown): Promise<T> {
  const [method] = operation.split(" ");
  const result = await api.ok<T>(`${method} ${path}`, {
    token: operator.token,
    ...(body !== undefined && { body }),
    ...(method === "POST" && { key: newId() }),
  });
  done.set(operation, path);
  return result;
}

async function entriesOf(actorId: string): Promise<Entry[]> {
  const found: Entry[] = [];
  let cursor = "";
  for (let pages = 0; pages < AUDIT_PAGES_MAX; pages++) {
    const query = `limit=100${cursor && `&cursor=${cursor}`}`;
    const page = await api.ok<{ items: Entry[]; next_cursor?: string }>(`GET /audit?${query}`, {
      token: root,
    });
    found.push(...page.items.filter(({ actor_id }) => actor_id === actorId));
    if (!page.next_cursor) break;
    cursor = page.next_cursor;
  }
  return found;
}

describe("the audit log", () => {
  it("has an entry for every operation of an operator, in every service", async () => {
    const at = "/partners/{partner_id}";
    const here = `/partners/${shop.partnerId}`;
    const mark = newId().slice(-12);
    const dish = shop.products[0] as string;
    const { invitation_id: invitation } = await act<{ invitation_id: string }>(
      "POST /invitations",
      "/invitations",
      { email: `${mark}@staff.example`, role: "deliverer" },
    );
    await act("POST /invitations/{invitation_id}/resend", `/invitations/${invitation}/resend`);
    await act("DELETE /invitations/{invitation_id}", `/invitations/${invitation}`);
    const somebody = await customer(api);
    const user = `/users/${somebody.id}`;
    const { sessions } = await api.ok<{ sessions: { id: string }[] }>(`GET ${user}`, { token: root });
    await act("DELETE /users/{user_id}/sessions/{session_id}", `${user}/sessions/${sessions[0]?.id}`);
    await act("DELETE /users/{user_id}/sessions", `${user}/sessions`);
    await act("PUT /users/{user_id}/role", `${user}/role`, { role: "deliverer" });
    await act("DELETE /users/{user_id}/role", `${user}/role`);
    await act("POST /users/{user_id}/suspend", `${user}/suspend`, { reason: "Because it is tried." });
    await act("POST /users/{user_id}/restore", `${user}/restore`);
    await act("POST /partners", "/partners", {
      title: `Audited ${mark}`,
      phone: "+493055501001",
      email: `audited-${mark}@partners.example`,
      address: { line1: "Weg 1", city: "Bonn", postal_code: "53111", country: "DE" },
      currency: "EUR",
      delivery_fee_minor: 0,
      preparation_minutes: 10,
      proof: "pin",
    });
    await act(`PATCH ${at}`, here, { brand: "Renamed" });
    const hours = { time_zone: "Europe/Berlin", spans: [{ weekday: 1, from_minute: 0, until_minute: 1440 }] };
    await act(`PUT ${at}/hours`, `${here}/hours`, hours);
    await act(`PUT ${at}/busy`, `${here}/busy`, {});
    await act(`PUT ${at}/assignment`, `${here}/assignment`, { assignment: "pool" });
    const product = { title: `Soup ${mark}`, price: PRICE, stock: 5 };
    const { product_id } = await act<{ product_id: string }>(
      `POST ${at}/products`,
      `${here}/products`,
      product,
    );
    await act(`PATCH ${at}/products/{product_id}`, `${here}/products/${product_id}`, {
      title: `Stew ${mark}`,
    });
    await act(`PUT ${at}/availability/{product_id}`, `${here}/availability/${dish}`, {
      price: PRICE,
      active: true,
    });
    await act(`POST ${at}/availability/{product_id}/stock`, `${here}/availability/${product_id}/stock`, {
      change: 1,
    });
    await act(`DELETE ${at}/products/{product_id}`, `${here}/products/${product_id}`);
    const url = "http://127.0.0.1:9/nobody";
    await act(`PUT ${at}/webhook`, `${here}/webhook`, { url, enabled: true });
    await act(`POST ${at}/webhook/rotate-secret`, `${here}/webhook/rotate-secret`);
    const { id: deliveryId } = await act<{ id: string }>(`POST ${at}/webhook/test`, `${here}/webhook/test`);
    await act(
      `POST ${at}/webhook/deliveries/{delivery_id}/replay`,
      `${here}/webhook/deliveries/${deliveryId}/replay`,
    );
    const agent = await act<{ id: string }>("POST /agents", "/agents", {
      name: `audited-${mark}`,
      priority: 900,
      providers: ["sandbox"],
      settings: [{ provider: "sandbox", values: { url: `${api.sandboxUrl}/push/send` } }],
      enabled: false,
    });
    await act("PATCH /agents/{agent_id}", `/agents/${agent.id}`, { priority: 901 });
    // In a language that no test uses, and disabled.
    const text = { title: "Betalt", body: "{{total}} er kommet.", enabled: false };
    const draft = { event: "order.paid:customer", language: "da", channel: "push", ...text };
    const template = await act<{ id: string }>("POST /templates", "/templates", draft);
    await act("PATCH /templates/{template_id}", `/templates/${template.id}`, { title: "Betaling" });
    const bank = await act<{ id: string }>("POST /banks", "/banks", {
      title: `Audited ${mark}`,
      adapter: "sandbox",
      settings: { apiKey: "key", webhookSecret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
      webcheckout_url: "http://127.0.0.1:9",
      active: false,
    });
    await act("PATCH /banks/{bank_id}", `/banks/${bank.id}`, { title: `Audited once more ${mark}` });

    const kitchenWithOrders = await kitchen(api, root);
    const [courier, other] = await Promise.all([
      invited(api, root, { role: "deliverer" }),
      invited(api, root, { role: "deliverer" }),
    ]);
    const { order_id } = await carriedOrder(api, me, kitchenWithOrders, courier);
    const order = `/orders/${order_id}`;
    const reason = "Because it is tried.";
    await act("POST /orders/{order_id}/reassign", `${order}/reassign`, { deliverer_id: other.id, reason });
    await act("PUT /couriers/{courier_id}/capacity", `/couriers/${other.id}/capacity`, { orders_at_once: 3 });
    await act("POST /orders/{order_id}/override", `${order}/override`, { to: "delivered", reason });
    // An act that changes nothing is recorded too.
    await act("POST /orders/{order_id}/accept", `${order}/accept`);
    await act("POST /orders/{order_id}/delay", `${order}/delay`, { ready_in_minutes: 20 });
    await act("POST /orders/{order_id}/ready", `${order}/ready`);
    const amount = { amount_minor: 100, currency: "EUR" };
    await act("POST /orders/{order_id}/refund", `${order}/refund`, { amount, reason });
    const pending = await placeOrder(api, me, kitchenWithOrders);
    await act("POST /orders/{order_id}/cancel", `/orders/${pending.order_id}/cancel`, { reason });
    await act("POST /orders/{order_id}/reject", `/orders/${pending.order_id}/reject`, { reason: "other" });
    const strays = await strayBank(api, root);
    const [toRefund, toAssign] = [await strays.pay(5000), await strays.pay(100_000)];
    const refund = await act<{ id: string }>(
      "POST /payments/{receipt_id}/refund",
      `/payments/${toRefund}/refund`,
      { reason },
    );
    await eventually(() => act("POST /refunds/{refund_id}/retry", `/refunds/${refund.id}/retry`, { reason }));
    const unpaid = await placeOrder(api, me, kitchenWithOrders, { bankId: strays.bankId });
    await act("POST /payments/{receipt_id}/assign", `/payments/${toAssign}/assign`, {
      order_id: unpaid.order_id,
      reason,
    });
    strays.stop();
    await kitchenWithOrders.close();

    const told = routes.map(endpointOf).filter(({ route: { access, method, action } }) => {
      const operators = Array.isArray(access) && access.includes("admin");
      return operators && method !== "GET" && !ON_DEAD_LETTERS.includes(action);
    });
    const notTried = told.filter(({ operation }) => !done.has(operation)).map(({ operation }) => operation);
    expect(notTried).toEqual([]);
    await eventually(async () => {
      const actions = (await entriesOf(operator.id)).map(({ action }) => action);
      const missing = told.map(({ route: { action } }) => NAMED[action] ?? action);
      expect(missing.filter((action) => !actions.includes(action))).toEqual([]);
    });
    const entries = await entriesOf(operator.id);
    expect(entries.find(({ action }) => action === "partners.update")).toMatchObject({
      subject: shop.partnerId,
      detail: "brand",
    });
    expect(entries.find(({ action }) => action === "orders.reassign")).toMatchObject({
      subject: order_id,
      detail: `to ${other.id}`,
    });
    expect(JSON.stringify(entries)).not.toContain("whsec_");
  });

  it("has no entry for refused operations and for those of partners on their own data", async () => {
    const boss = await invited(api, root, {
      role: "partner",
      partner_id: shop.partnerId,
      partner_admin: true,
    });
    const other = await invited(api, root, { role: "admin" });
    await api.ok(`PATCH /partners/${shop.partnerId}`, { token: boss.token, body: { brand: "Ours" } });
    const refused = { token: other.token, body: { title: "Nobody" } };
    expect((await api.request(`PATCH /partners/${newId()}`, refused)).status).toBe(404);
    // A later act of the same operator is in the log, so what came before it would be too.
    await api.ok(`PUT /partners/${shop.partnerId}/busy`, { token: other.token, body: {} });
    await eventually(async () => {
      expect((await entriesOf(other.id)).map(({ action }) => action)).toContain("partners.setBusy");
    });
    expect((await entriesOf(other.id)).map(({ action }) => action)).not.toContain("partners.update");
    const ofBoss = (await entriesOf(boss.id)).map(({ action }) => action);
    expect(ofBoss.filter((action) => action.startsWith("partners."))).toEqual([]);
  });
});
