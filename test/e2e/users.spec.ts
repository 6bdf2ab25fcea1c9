import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect } from "./client.ts";
import { covered } from "./covered.ts";
import {
  admin,
  carriedOrder,
  customer,
  invited,
  type Kitchen,
  kitchen,
  mailed,
  type Order,
  signIn,
} from "./world.ts";

interface User {
  id: string;
  state: string;
  role: string;
}
interface FullUser {
  user: User;
  sessions: { id: string }[];
  devices: { name: string }[];
  orders: Order[];
  audit: { action: string }[];
  unreachable: string[];
}

let api: Client;
let root: string;
let shop: Kitchen;
beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  shop = await kitchen(api, root);
}, 60_000);
afterAll(async () => {
  await shop?.close();
  expect([...(api?.reached ?? [])]).toEqual(expect.arrayContaining([...covered.users]));
});

const asAdmin = <T>(operation: string, body?: object) =>
  api.ok<T>(operation, { token: root, key: newId(), ...(body && { body }) });
const oneOf = (id: string) => asAdmin<FullUser>(`GET /users/${id}`);

describe("operators and staff", () => {
  it("find orders by customer, state, time and the customer's name, and export the same rows", async () => {
    const name = `Q${newId().slice(-12)}`;
    const [me, staff, other] = await Promise.all([
      customer(api, { name }),
      invited(api, root, { role: "partner", partner_id: shop.partnerId }),
      invited(api, root, { role: "deliverer" }),
    ]);
    const { order_id } = await carriedOrder(api, me, shop, other);
    const day = 86_400_000;
    const period = `from=${new Date(Date.now() - day).toISOString()}&to=${new Date(Date.now() + day).toISOString()}`;
    const found = async (token: string, query: string) =>
      (await api.ok<{ items: Order[] }>(`GET /orders?${query}`, { token })).items.map(({ id }) => id);
    const queries = [
      `q=${name.toLowerCase()}`,
      `q=${name.slice(0, 9)}&partner_id=${shop.partnerId}&statuses=ready,delivering&${period}`,
      `customer_id=${me.id}&payment_status=paid`,
      `deliverer_id=${other.id}&status=delivering&${period}`,
    ];
    for (const query of queries) {
      expect(await found(root, query)).toEqual([order_id]);
      expect(await found(staff.token, query)).toEqual([order_id]);
    }
    expect(await found(root, `customer_id=${me.id}&statuses=delivered,cancelled`)).toEqual([]);
    expect(await found(root, `customer_id=${me.id}&to=${new Date(Date.now() - day).toISOString()}`)).toEqual(
      [],
    );
    expect(await found(me.token, "status=delivering&payment_status=paid")).toEqual([order_id]);
    expect((await api.refused(`GET /orders?q=${name}`, { token: me.token })).status).toBe(403);

    const rows = async (token: string) => {
      const answer = await api.request(`GET /orders.csv?${period}&customer_id=${me.id}`, { token });
      expect(answer.headers.get("content-type")).toMatch(/^text\/csv/);
      return answer.bytes.toString().trimEnd().split("\r\n");
    };
    const [heading, ...lines] = await rows(root);
    expect(heading).toMatch(/^id,created_at,status,payment_status,/);
    expect(lines).toEqual([expect.stringMatching(`^${order_id},.*,delivering,paid,.*,${name} .*,'\\+49`)]);
    expect(await rows(staff.token)).toEqual([heading, ...lines]);
    const elsewhere = await invited(api, root, { role: "partner", partner_id: newId() });
    expect(await rows(elsewhere.token)).toEqual([heading]);
    const far = "from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z";
    expect((await api.refused(`GET /orders.csv?${far}`, { token: root })).code).toBe("validation_error");
  });
});

describe("operators and the users of the platform", () => {
  it("find a customer by name, with sessions, devices and orders, and end the sessions", async () => {
    const name = `Q${newId().slice(-12)}`;
    const [me, courier] = await Promise.all([
      customer(api, { name }),
      invited(api, root, { role: "deliverer" }),
    ]);
    const { order_id } = await carriedOrder(api, me, shop, courier);
    const { items } = await asAdmin<{ items: User[] }>(`GET /users?q=${name.toLowerCase()}&role=customer`);
    expect(items).toEqual([expect.objectContaining({ id: me.id, state: "active" })]);
    const mine = await eventually(async () => {
      const found = await oneOf(me.id);
      expect(found.devices).toEqual([expect.objectContaining({ name: "My phone" })]);
      return found;
    });
    expect(mine).toMatchObject({ unreachable: [], orders: [{ id: order_id }], sessions: [{}] });
    expect((await oneOf(courier.id)).orders).toEqual([expect.objectContaining({ id: order_id })]);

    await asAdmin(`DELETE /users/${me.id}/sessions/${mine.sessions[0]?.id}`);
    await eventually(async () =>
      expect(await api.refused("GET /me", { token: me.token })).toEqual({
        status: 401,
        code: "session_revoked",
      }),
    );
    await signIn(api, me.email);
    await asAdmin(`DELETE /users/${me.id}/sessions`);
    expect((await oneOf(me.id)).sessions).toEqual([]);
  });

  it("suspend a courier: sessions end, carried orders return to the pool, and a restore undoes it", async () => {
    const [me, courier, next] = await Promise.all([
      customer(api),
      invited(api, root, { role: "deliverer" }),
      invited(api, root, { role: "deliverer" }),
    ]);
    const { order_id } = await carriedOrder(api, me, shop, courier);
    const key = newId();
    const suspend = () =>
      api.ok<User>(`POST /users/${courier.id}/suspend`, { token: root, key, body: { reason: "Left." } });
    expect(await suspend()).toMatchObject({ state: "suspended" });
    expect(await suspend()).toMatchObject({ state: "suspended" });
    await eventually(async () =>
      expect((await api.refused("GET /me", { token: courier.token })).code).toBe("session_revoked"),
    );
    const { email, password } = courier;
    expect(await api.refused("POST /sessions", { body: { email, password } })).toEqual({
      status: 403,
      code: "account_suspended",
    });
    await eventually(async () =>
      expect(await asAdmin<Order>(`GET /orders/${order_id}`)).toMatchObject({ status: "ready" }),
    );
    await api.ok(`POST /orders/${order_id}/assign`, { token: next.token, key: newId() });
    const suspended = await asAdmin<{ items: User[] }>("GET /users?state=suspended&role=deliverer");
    expect(suspended.items.map(({ id }) => id)).toContain(courier.id);

    expect(await asAdmin(`POST /users/${courier.id}/restore`)).toMatchObject({ state: "active" });
    const { access_token } = await signIn(api, email);
    await eventually(() => api.ok("GET /deliveries/available", { token: access_token }));
    const actions = (await oneOf(courier.id)).audit.map(({ action }) => action);
    expect(actions).toEqual(expect.arrayContaining(["user.suspended", "user.restored"]));
  });

  it("give and remove roles, and keep their own", async () => {
    const me = await customer(api);
    const staff = { role: "partner", partner_id: shop.partnerId, partner_admin: true };
    expect(await asAdmin(`PUT /users/${me.id}/role`, staff)).toMatchObject(staff);
    const { access_token: token } = await signIn(api, me.email);
    await api.ok(`GET /partners/${shop.partnerId}/webhook`, { token });
    expect(await asAdmin(`DELETE /users/${me.id}/role`)).toMatchObject({ role: "customer" });
    const own = await api.ok<User>("GET /me", { token: root });
    for (const operation of [`POST /users/${own.id}/suspend`, `PUT /users/${own.id}/role`]) {
      const body = operation.startsWith("PUT") ? { role: "customer" } : { reason: "Mine." };
      expect((await api.refused(operation, { token: root, key: newId(), body })).status).toBe(403);
    }
  });

  it("send an invitation again and withdraw it", async () => {
    const email = `${newId()}@staff.example`;
    const { invitation_id: id } = await asAdmin<{ invitation_id: string }>("POST /invitations", {
      email,
      role: "deliverer",
    });
    const first = await mailed(api, email, /^ {4}(\S+)$/m);
    await asAdmin(`POST /invitations/${id}/resend`);
    await eventually(async () => expect(await mailed(api, email, /^ {4}(\S+)$/m)).not.toBe(first));
    const { items } = await asAdmin<{ items: { id: string; state: string }[] }>(
      "GET /invitations?state=open",
    );
    expect(items).toContainEqual(expect.objectContaining({ id, state: "open" }));
    await asAdmin(`DELETE /invitations/${id}`);
    const body = {
      token: await mailed(api, email, /^ {4}(\S+)$/m),
      password: "Blaubeere-Teppich-91",
      first_name: "Ida",
    };
    expect((await api.refused("POST /invitations/accept", { body })).code).toBe("invitation_invalid");
  });
});
