import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect } from "./client.ts";
import { covered } from "./covered.ts";
import {
  admin,
  customer,
  invited,
  type Kitchen,
  kitchen,
  mailed,
  type Order,
  type Person,
  pickup,
  readyOrder,
  signIn,
} from "./world.ts";

const COURIERS = 20;
/** Of a cluster's processes and servers each has less of the machine. */
const AT_ONCE = process.env.TEST_TOPOLOGY === "cluster" ? 2 : 5;

interface PoolEntry {
  order_id: string;
  distance_meters?: number;
}
interface Notification {
  event: string;
  order_id?: string;
  state: string;
  attempts: { channel: string; provider: string; outcome: string }[];
}

let api: Client;
let root: string;
let me: Person;
let shop: Kitchen;
let couriers: Person[];

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  me = await customer(api);
  shop = await kitchen(api, root);
  couriers = [];
  while (couriers.length < COURIERS) {
    const some = Array.from({ length: AT_ONCE }, () => invited(api, root, { role: "deliverer" }));
    couriers.push(...(await Promise.all(some)));
  }
});
afterAll(async () => {
  await shop?.close();
  expect([...(api?.reached ?? [])]).toEqual(expect.arrayContaining([...covered["scenario-7"]]));
});

const assign = (courier: Person, orderId: string) =>
  api.request<Order & { code: string }>(`POST /orders/${orderId}/assign`, { ...courier, key: newId() });

async function race(orderId: string): Promise<Person> {
  const answers = await Promise.all(couriers.map((courier) => assign(courier, orderId)));
  const winners = couriers.filter((_, index) => answers[index]?.status === 200);
  const others = answers.filter(({ status }) => status !== 200);
  expect(winners).toHaveLength(1);
  expect(new Set(others.map(({ status, body }) => `${status} ${body.code}`))).toEqual(
    new Set(["409 already_assigned"]),
  );
  return winners[0] as Person;
}

async function notificationOf(event: string, orderId: string, by = me): Promise<Notification> {
  return await eventually(async () => {
    const { items } = await api.ok<{ items: Notification[] }>("GET /me/notifications?limit=100", by);
    const found = items.find(
      (one) => one.event.startsWith(event) && one.order_id === orderId && one.state === "sent",
    );
    expect(found).toBeDefined();
    return found as Notification;
  });
}

describe("scenario 7, assign", () => {
  it("assigns an order to one of twenty couriers who call at once, and notifies the customer", async () => {
    const { order_id } = await readyOrder(api, me, shop);
    const winner = await race(order_id);
    expect((await assign(winner, order_id)).body).toMatchObject({
      status: "delivering",
      deliverer_id: winner.id,
    });
    const { attempts } = await notificationOf("order.assigned", order_id);
    expect(attempts.at(-1)).toMatchObject({ channel: "push", provider: "sandbox", outcome: "accepted" });
    await eventually(async () => {
      const response = await fetch(`${api.sandboxUrl}/push.json?token=${me.phone}`);
      const pushes = (await response.json()) as { data: { event: string; order_id?: string } }[];
      expect(pushes.filter(({ data }) => data.event === "order.assigned")).toHaveLength(1);
    });
  });

  it("a courier goes on duty, sees the pool from there, and is bounded by an operator; the end deletes the position", async () => {
    const [courier] = couriers as [Person];
    const { position } = pickup;
    const body = { on_duty: true, vehicle: "bicycle", position };
    await api.ok("PUT /deliveries/duty", { token: courier.token, body });
    const moved = { latitude: position.latitude + 0.001, longitude: position.longitude };
    await api.ok("POST /deliveries/position", { token: courier.token, body: moved });
    await api.ok(`PUT /couriers/${courier.id}/capacity`, { token: root, body: { orders_at_once: 7 } });
    const duty = await api.ok<object>("GET /deliveries/duty", courier);
    expect(duty).toMatchObject({ on_duty: true, vehicle: "bicycle", position: moved, orders_at_once: 7 });
    const { order_id } = await readyOrder(api, me, shop);
    const { items } = await api.ok<{ items: PoolEntry[] }>("GET /deliveries/available?limit=100", courier);
    expect(items.find((one) => one.order_id === order_id)).toMatchObject({ distance_meters: 111 });
    await eventually(async () => {
      const { items: sent } = await api.ok<{ items: object[] }>("GET /me/notifications", courier);
      expect(sent).toContainEqual(
        expect.objectContaining({ event: "order.ready", order_id, title: "An order near you is ready" }),
      );
    });
    expect(await api.ok("GET /deliveries/offers", courier)).toEqual({ items: [] });
    const seen = await api.ok<{ items: object[] }>("GET /couriers?duty=on&limit=100", { token: root });
    expect(seen.items).toContainEqual(expect.objectContaining({ id: courier.id, position: moved }));
    await api.ok("PUT /deliveries/duty", { token: courier.token, body: { on_duty: false } });
    expect(await api.ok<object>("GET /deliveries/duty", courier)).not.toHaveProperty("position");
    const refused = await api.request("POST /deliveries/position", { token: courier.token, body: moved });
    expect(refused).toMatchObject({ status: 409, body: { code: "off_duty" } });
  });

  it("the pool lists ready orders, the nearest first, without the customer's data", async () => {
    const { order_id } = await readyOrder(api, me, shop);
    const [courier] = couriers as [Person];
    const { latitude, longitude } = pickup.position;
    const near = await api.ok<{ items: PoolEntry[] }>(
      `GET /deliveries/available?latitude=${latitude}&longitude=${longitude}&limit=100`,
      courier,
    );
    const distances = near.items.map(({ distance_meters }) => distance_meters ?? Number.POSITIVE_INFINITY);
    expect(distances).toEqual(distances.toSorted((a, b) => a - b));
    expect(near.items.map((entry) => entry.order_id)).toContain(order_id);
    expect(JSON.stringify(near)).not.toContain("Brandt");
    expect(await api.refused("GET /deliveries/available", me)).toEqual({ status: 403, code: "forbidden" });
    await race(order_id);
  });

  it("a released order can be assigned to the next courier", async () => {
    const { order_id } = await readyOrder(api, me, shop);
    const first = await race(order_id);
    const body = { reason: "A flat tyre." };
    expect(await api.ok(`POST /orders/${order_id}/release`, { ...first, key: newId(), body })).toMatchObject({
      status: "ready",
    });
    const next = couriers.find(({ id }) => id !== first.id) as Person;
    expect((await assign(next, order_id)).body).toMatchObject({ deliverer_id: next.id });
    expect(
      await api.refused(`POST /orders/${order_id}/release`, { ...first, key: newId(), body: {} }),
    ).toMatchObject({
      status: 404,
    });
  });

  it("refuses to assign an order that is not ready", async () => {
    expect((await assign(couriers[0] as Person, newId())).status).toBe(404);
    expect((await assign(me, newId())).status).toBe(403);
  });

  it("a user whose phone refuses the push gets a mail", async () => {
    const silent = await customer(api, { phoneIs: "refuse" });
    const { order_id } = await readyOrder(api, silent, shop);
    await race(order_id);
    const { attempts } = await notificationOf("order.assigned", order_id, silent);
    expect(attempts.map(({ channel, outcome }) => `${channel} ${outcome}`)).toEqual([
      "push refused",
      "email accepted",
    ]);
    await mailed(api, silent.email, /(courier|way|deliver)/i);
  });

  it("a phone gets no push after its session is signed out", async () => {
    const by = await customer(api);
    await eventually(async () => {
      expect((await api.ok<{ items: object[] }>("GET /me/devices", by)).items).toHaveLength(1);
    });
    const other = await signIn(api, by.email);
    await api.ok("DELETE /sessions/current", by);
    await eventually(async () => {
      expect(
        (await api.ok<{ items: object[] }>("GET /me/devices", { token: other.access_token })).items,
      ).toEqual([]);
    });
  });

  it("users choose their devices and channels", async () => {
    const by = await customer(api);
    await eventually(async () => {
      expect((await api.ok<{ items: object[] }>("GET /me/devices", by)).items).toHaveLength(1);
    });
    const body = { provider: "sandbox", token: `phone-${newId()}`, device_name: "Tablet" };
    const { id } = await api.ok<{ id: string }>("POST /me/devices", { ...by, key: newId(), body });
    await api.ok(`DELETE /me/devices/${id}`, by);
    expect(
      (await api.ok<{ items: { id: string }[] }>("GET /me/devices", by)).items.map((one) => one.id),
    ).not.toContain(id);
    expect(await api.ok("GET /me/notification-preferences", by)).toEqual({ push: true, email: true });
    await api.ok("PUT /me/notification-preferences", { ...by, body: { push: false, email: true } });
    expect(await api.ok("GET /me/notification-preferences", by)).toEqual({ push: false, email: true });
  });

  it("users set quiet hours: notifications that can wait are deferred, and sent when the quiet hours are removed", async () => {
    const by = await customer(api);
    const minute = Math.floor((Date.now() % 86_400_000) / 60_000);
    const at = (minutes: number) => (minute + minutes + 1_440) % 1_440;
    const quiet_hours = { from_minute: at(-60), until_minute: at(60), time_zone: "UTC" };
    const nowhere = { ...quiet_hours, time_zone: "Mars/Olympus" };
    const wishes = (hours?: object) => ({
      ...by,
      body: { push: true, email: true, ...(hours && { quiet_hours: hours }) },
    });
    expect(await api.refused("PUT /me/notification-preferences", wishes(nowhere))).toMatchObject({
      status: 422,
    });
    await api.ok("PUT /me/notification-preferences", wishes(quiet_hours));
    expect(await api.ok("GET /me/notification-preferences", by)).toMatchObject({ quiet_hours });
    const { order_id } = await readyOrder(api, by, shop);
    const stateOf = async (event: string) => {
      const { items } = await api.ok<{ items: Notification[] }>("GET /me/notifications?limit=100", by);
      return items.find((one) => one.event === event && one.order_id === order_id)?.state;
    };
    await eventually(async () => {
      expect([await stateOf("order.paid"), await stateOf("order.ready")]).toEqual(["held", "held"]);
    });
    await api.ok("PUT /me/notification-preferences", wishes());
    await eventually(async () => {
      expect([await stateOf("order.paid"), await stateOf("order.ready")]).toEqual(["dropped", "sent"]);
    });
  });

  it("quiet hours are accepted in the format of docs/notifications.md and the documentation page", async () => {
    const by = await customer(api);
    const page = readFileSync("docs/notifications.md", "utf8").replaceAll("\n", " ");
    const [, written = ""] = /PUT \/me\/notification-preferences` takes `(\{.*?\})`/.exec(page) ?? [];
    const route = routes
      .map(endpointOf)
      .find((each) => each.operation === "PUT /me/notification-preferences");
    for (const body of [JSON.parse(written), route?.body?.example] as object[]) {
      expect(await api.ok("PUT /me/notification-preferences", { ...by, body })).toMatchObject({
        quiet_hours: { from_minute: 1_320 },
      });
    }
  });

  it("operators set the push providers, and their secrets are never returned", async () => {
    const body = {
      name: "A sender in reserve",
      priority: 999,
      providers: ["sandbox"],
      settings: [{ provider: "sandbox", values: { url: `${api.sandboxUrl}/push/send` } }],
      enabled: false,
    };
    const { id } = await api.ok<{ id: string }>("POST /agents", { token: root, key: newId(), body });
    expect(await api.ok(`PATCH /agents/${id}`, { token: root, body: { priority: 998 } })).toMatchObject({
      priority: 998,
    });
    const agents = await api.ok<{ items: { id: string }[] }>("GET /agents", { token: root });
    expect(agents.items.map((agent) => agent.id)).toContain(id);
    expect(JSON.stringify(agents)).not.toContain("/push/send");
    expect(await api.refused("GET /agents", me)).toMatchObject({ status: 403 });
  });

  it("operators override texts, from a draft to the active one", async () => {
    const place = { event: "order.delivered:customer", language: "sv", channel: "push" };
    const draft = { ...place, title: "Levererad", body: "Från {{shop}}.", enabled: false };
    const asked = { token: root, key: newId() };
    expect(await api.refused("POST /templates", { ...asked, body: draft })).toMatchObject({ status: 422 });
    const body = { ...draft, body: "Från {{partner}}." };
    const made = await api.ok<{ id: string; preview: object }>("POST /templates", {
      ...asked,
      key: newId(),
      body,
    });
    expect(made).toMatchObject({ in_force: false, preview: { body: "Från Café Central." }, version: 1 });
    const enabled = { token: root, body: { enabled: true } };
    expect(await api.ok(`PATCH /templates/${made.id}`, enabled)).toMatchObject({
      in_force: true,
      version: 2,
    });
    const of = "GET /templates?event=order.delivered:customer&channel=push";
    const { items } = await api.ok<{ items: { language: string; origin: string }[] }>(of, { token: root });
    // Another file of tests may override a further language on the same platform.
    const shown = items.map(({ language, origin }) => `${language} ${origin}`);
    expect(shown).toEqual(expect.arrayContaining(["de built_in", "en built_in", "sv own"]));
    expect(await api.refused("GET /templates", me)).toMatchObject({ status: 403 });
  });

  it("a partner's orders are offered to one courier after the other, and a courier accepts the offer", async () => {
    const offering = await kitchen(api, root);
    // Far from the couriers of other tests.
    const position = { latitude: -46.41, longitude: 168.35 };
    const partner = `/partners/${offering.partnerId}`;
    await api.ok(`PATCH ${partner}`, { token: root, body: { address: { ...pickup, position } } });
    const path = `${partner}/assignment`;
    await api.ok(`PUT ${path}`, { token: root, body: { assignment: "offer" } });
    expect(await api.ok(`GET ${path}`, { token: root })).toMatchObject({
      assignment: "offer",
      is_default: false,
    });
    const [first, second] = couriers.slice(-2) as [Person, Person];
    for (const courier of [first, second]) {
      const body = { on_duty: true, position };
      await api.ok("PUT /deliveries/duty", { ...courier, body });
    }
    const { order_id: orderId } = await readyOrder(api, me, offering);
    const offersOf = (courier: Person) =>
      api.ok<{ items: { order_id: string }[] }>("GET /deliveries/offers", courier);
    const offeredTo = () =>
      eventually(async () => {
        for (const courier of [first, second]) {
          const { items } = await offersOf(courier);
          if (items.some((offer) => offer.order_id === orderId)) return courier;
        }
        throw new Error("the order is offered to neither");
      });
    const asked = await offeredTo();
    const other = asked === first ? second : first;
    expect(await api.refused(`POST /orders/${orderId}/assign`, { ...other, key: newId() })).toEqual({
      status: 409,
      code: "offered_to_another",
    });
    await api.ok(`POST /orders/${orderId}/decline`, { ...asked, key: newId() });
    expect(await offeredTo()).toBe(other);
    const taken = await api.ok<Order>(`POST /orders/${orderId}/assign`, { ...other, key: newId() });
    expect(taken.status).toBe("delivering");
    await eventually(async () => {
      const { items } = await api.ok<{ items: { type: string }[] }>(`GET /orders/${orderId}/history`, me);
      expect(items.map(({ type }) => type).slice(-4)).toEqual([
        "order.offered",
        "order.offer_declined",
        "order.offered",
        "order.assigned",
      ]);
    });
    for (const courier of [first, second]) {
      await api.ok("PUT /deliveries/duty", { ...courier, body: { on_duty: false } });
    }
    await offering.close();
  });
});
