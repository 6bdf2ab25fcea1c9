import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Role } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { exampleOf } from "../../mixins/openapi/example.ts";
import { type Endpoint, endpointOf } from "../../services/api/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect } from "./client.ts";
import {
  admin,
  carriedOrder,
  customer,
  invited,
  type Kitchen,
  kitchen,
  type Order,
  type Person,
  sandboxBank,
} from "./world.ts";

/** Placeholders whose resource belongs to somebody; what else a path names is everybody's to name. */
const OWNED = ["order_id", "session_id", "device_id"];
/** Where the partner that a path names has to be one's own. */
const PARTNERS_OWN = "Partner administration";
/** An order in the pool is every deliverer's to claim; that it is taken already is no secret. */
const answersTaken = "POST /orders/{order_id}/assign";

const endpoints = routes.map(endpointOf);

let api: Client;
let root: string;
let owner: Person;
let shop: Kitchen;
let elsewhere: Kitchen;
let orderId: string;
let strangers: Record<Role, string>;
let known: Record<string, string>;

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  [shop, elsewhere] = await Promise.all([kitchen(api, root), kitchen(api, root)]);
  const [courier, stranger, otherCourier, otherStaff] = await Promise.all([
    invited(api, root, { role: "deliverer" }),
    customer(api),
    invited(api, root, { role: "deliverer" }),
    invited(api, root, { role: "partner", partner_id: elsewhere.partnerId, partner_admin: true }),
  ]);
  owner = await customer(api);
  ({ order_id: orderId } = await carriedOrder(api, owner, shop, courier));
  strangers = {
    customer: stranger.token,
    deliverer: otherCourier.token,
    partner: otherStaff.token,
    admin: root,
  };
  known = {
    order_id: orderId,
    partner_id: shop.partnerId,
    product_id: shop.products[0] as string,
    bank_id: await sandboxBank(api, owner),
    session_id: await firstId("GET /sessions", owner.token),
    device_id: await eventually(() => firstId("GET /me/devices", owner.token)),
    delivery_id: await firstId(`GET /partners/${shop.partnerId}/webhook/deliveries`, root),
    agent_id: await firstId("GET /agents", root),
    dead_letter_id: `orders:${newId()}`,
    token: "A".repeat(51),
  };
}, 90_000);
afterAll(() => Promise.all([shop?.close(), elsewhere?.close()]));

async function firstId(operation: string, token: string): Promise<string> {
  const { items } = await api.ok<{ items: { id: string }[] }>(operation, { token });
  const [first] = items;
  if (!first) throw new Error(`${operation} lists nothing`);
  return first.id;
}

/** The operation as it would succeed for whoever may do it, done by somebody. */
async function attempt({ route, body }: Endpoint, token?: string): Promise<number> {
  const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => known[name] as string);
  const { status } = await api.request(`${route.method} ${path}`, {
    ...(token && { token }),
    ...(body?.part && { body: exampleOf(body.part.rule) }),
    ...(body?.kind === "image" && { image: Buffer.from("bytes") }),
    ...(route.method === "POST" && { key: newId() }),
  });
  return status;
}

function belongsToSomebody({ route: { path, tag } }: Endpoint): boolean {
  return (
    OWNED.some((name) => path.includes(`{${name}}`)) ||
    (tag === PARTNERS_OWN && path.includes("{partner_id}"))
  );
}

describe("access, for every operation of the tables", () => {
  it("without a sign-in, is refused wherever one is needed", async () => {
    const closed = endpoints.filter(({ route: { access } }) => access !== "public");
    const open: string[] = [];
    for (const endpoint of closed) if ((await attempt(endpoint)) !== 401) open.push(endpoint.operation);
    expect(open).toEqual([]);
  });

  it("with a role that it is not for, is refused", async () => {
    const open: string[] = [];
    for (const endpoint of endpoints) {
      const { access } = endpoint.route;
      if (!Array.isArray(access)) continue;
      for (const role of Object.keys(strangers) as Role[]) {
        if (access.includes(role)) continue;
        const status = await attempt(endpoint, strangers[role]);
        if (status !== 403) open.push(`${endpoint.operation} as ${role}: ${status}`);
      }
    }
    expect(open).toEqual([]);
  });

  it("on what is another's, finds nothing and changes nothing", async () => {
    const before = await api.ok<Order>(`GET /orders/${orderId}`, owner);
    const leaks: string[] = [];
    for (const endpoint of endpoints.filter(belongsToSomebody)) {
      const { access } = endpoint.route;
      const roles = (["customer", "deliverer", "partner"] as const).filter(
        (role) => access === "any" || (Array.isArray(access) && access.includes(role)),
      );
      for (const role of roles) {
        const status = await attempt(endpoint, strangers[role]);
        const hidden = status === 404 || (status === 409 && endpoint.operation === answersTaken);
        // Removing what one does not have is done already; whose it is stays untold.
        const nothingToRemove = status === 204 && endpoint.route.method === "DELETE";
        if (!hidden && !nothingToRemove && status !== 403)
          leaks.push(`${endpoint.operation} as ${role}: ${status}`);
      }
    }
    expect(leaks).toEqual([]);
    expect(await api.ok<Order>(`GET /orders/${orderId}`, owner)).toEqual(before);
    expect(await firstId("GET /me/devices", owner.token)).toBe(known.device_id);
    expect((await api.request("GET /sessions", owner)).status).toBe(200);
  });

  it("shows in lists only what is one's own", async () => {
    for (const role of ["customer", "deliverer", "partner"] as const) {
      const { items } = await api.ok<{ items: Order[] }>("GET /orders?limit=100", { token: strangers[role] });
      expect(items.map(({ id }) => id)).not.toContain(orderId);
    }
  });

  it("refuses every field of an answer that is sent back as input, unless it is input", async () => {
    const profile = await api.ok<object>("GET /me", owner);
    const answer = await api.request<{ errors: { field: string }[] }>("PATCH /me", {
      ...owner,
      body: profile,
    });
    expect(answer.status).toBe(422);
    expect(answer.body.errors.map(({ field }) => field)).toEqual(
      expect.arrayContaining(["id", "role", "email_confirmed", "version", "created_at"]),
    );
    const order = await api.ok<object>(`GET /orders/${orderId}`, owner);
    expect((await api.request(`PATCH /orders/${orderId}`, { ...owner, body: order })).status).toBe(422);
    const partner = await api.ok<object>(`GET /partners/${shop.partnerId}`, owner);
    expect(
      (await api.request(`PATCH /partners/${shop.partnerId}`, { token: root, body: partner })).status,
    ).toBe(422);
  });
});
