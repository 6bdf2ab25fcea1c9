import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect, type Stream } from "./client.ts";
import { covered } from "./covered.ts";
import {
  admin,
  atCheckout,
  customer,
  invited,
  type Kitchen,
  kitchen,
  kitchenWithoutSystem,
  type Order,
  order,
  orderWhen,
  type Person,
  pickup,
} from "./world.ts";

const MINUTE_MS = 60_000;

interface Notified {
  event: string;
  order_id?: string;
  attempts: { channel: string; outcome: string }[];
}

let api: Client;
let root: string;
let me: Person;
let shop: Kitchen;

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  me = await customer(api);
  shop = await kitchen(api, root);
});
afterAll(async () => {
  await shop?.close();
  expect([...(api?.reached ?? [])]).toEqual(expect.arrayContaining([...covered["scenario-6"]]));
});

/** Paid, and the kitchen knows. */
async function paidOrder() {
  const made = await order(api, me, shop);
  await atCheckout(made.checkout_url, { action: "pay" });
  await eventually(() =>
    expect(shop.received.some(({ data }) => data.order_id === made.order_id)).toBe(true),
  );
  return made;
}

const seen = (id: string) => api.ok<Order & { ready_at?: string }>(`GET /orders/${id}`, me);
const soon = (minutes: number) => new Date(Date.now() + minutes * MINUTE_MS).toISOString();

describe("scenario 6, ready", () => {
  it("the partner's system accepts, delays and is ready, and the order moves before each response", async () => {
    const { order_id } = await paidOrder();
    const stream = await api.follow(`GET /orders/${order_id}/events`, me);
    const ready_at = soon(20);
    expect((await shop.say("order.accepted", order_id, { data: { ready_at } })).status).toBe(202);
    expect(await seen(order_id)).toMatchObject({ status: "preparing", ready_at });
    const later = soon(40);
    expect(
      (await shop.say("order.delayed", order_id, { data: { ready_at: later, reason: "A long queue." } }))
        .status,
    ).toBe(202);
    expect(await seen(order_id)).toMatchObject({ status: "preparing", ready_at: later });
    expect((await shop.say("order.ready", order_id)).status).toBe(202);
    const ready = await seen(order_id);
    expect(ready.status).toBe("ready");
    expect(ready.partner).toMatchObject({
      id: shop.partnerId,
      pickup: { line1: pickup.line1, city: "Hamburg" },
    });
    await eventually(() => {
      const types = stream.events.map(({ data }) => data.type);
      expect(types.slice(0, 5)).toEqual([
        "order.created",
        "order.paid",
        "order.accepted",
        "order.delayed",
        "order.ready",
      ]);
    });
    stream.end();
    const after = stream.events[2]?.id as number;
    const resumed = await api.follow(`GET /orders/${order_id}/events`, {
      ...me,
      headers: { "Last-Event-ID": String(after) },
    });
    await eventually(() => {
      expect(resumed.events.slice(0, 2).map(({ data }) => data.type)).toEqual([
        "order.delayed",
        "order.ready",
      ]);
    });
    resumed.end();
  });

  it("the order's number is the same for customer, kitchen, stream and notifications", async () => {
    const made = await paidOrder();
    const { number } = await api.ok<{ number: string }>(`GET /orders/${made.order_id}`, me);
    expect(number).toMatch(/^[A-Z]\d-\d{3}$/);
    expect(made).toMatchObject({ number });
    const received = shop.received.find(({ data }) => data.order_id === made.order_id);
    expect(received?.data).toMatchObject({ number });
    const stream = await api.follow(`GET /orders/${made.order_id}/events`, me);
    await eventually(() => expect(stream.events.length).toBeGreaterThan(0));
    expect(stream.events[0]?.data).toMatchObject({ type: "order.created", number });
    stream.end();
    await eventually(async () => {
      const { items } = await api.ok<{ items: { body: string }[] }>("GET /me/notifications", me);
      expect(items.map(({ body }) => body)).toContainEqual(expect.stringContaining(`Order ${number}.`));
    });
  });

  it("a kitchen can report ready without accepted before", async () => {
    const { order_id } = await paidOrder();
    expect((await shop.say("order.ready", order_id)).status).toBe(202);
    expect((await seen(order_id)).status).toBe("ready");
  });

  it("a kitchen rejects with a reason, and the payment is refunded", async () => {
    const { order_id, total } = await paidOrder();
    const reason = "The oven is cold.";
    expect((await shop.say("order.rejected", order_id, { data: { reason } })).status).toBe(202);
    await orderWhen(api, me, order_id, (now) => {
      expect(now).toMatchObject({ status: "cancelled", reason, payment_status: "refunded", refunded: total });
    });
    expect(JSON.parse((await shop.say("order.ready", order_id)).body)).toMatchObject({
      status: 409,
      code: "illegal_transition",
    });
  });

  it("a repeated callback has no further effect, one with another body is refused", async () => {
    const { order_id } = await paidOrder();
    const at = new Date();
    const id = newId();
    const accept = (ready_at: string) => shop.say("order.accepted", order_id, { id, at, data: { ready_at } });
    const promised = soon(15);
    const answers = await Promise.all([accept(promised), accept(promised), accept(promised)]);
    // With the body, which says what is wrong.
    expect(answers).toEqual(answers.map(() => expect.objectContaining({ status: 202 })));
    const { version } = await seen(order_id);
    expect((await accept(promised)).status).toBe(202);
    expect((await seen(order_id)).version).toBe(version);
    expect(JSON.parse((await accept(soon(30))).body)).toMatchObject({ status: 409, code: "event_mismatch" });
  });

  it("a forged callback is refused with a byte-identical response", async () => {
    const { order_id } = await paidOrder();
    const other = await kitchen(api, root);
    const refused = [
      await shop.say("order.accepted", order_id, { secret: other.secret }),
      await shop.say("order.accepted", order_id, { at: new Date(Date.now() - 6 * MINUTE_MS) }),
      await shop.say("order.accepted", order_id, { at: new Date(Date.now() + 6 * MINUTE_MS) }),
    ];
    const unsigned = await api.request(`POST /webhooks/partners/${shop.partnerId}`, { body: "{}" });
    const nobody = await api.request(`POST /webhooks/partners/${newId()}`, { body: "{}" });
    expect([...refused, unsigned, nobody].map(({ status }) => status)).toEqual([401, 401, 401, 401, 401]);
    const bodies = [...refused.map(({ body }) => body), unsigned.bytes.toString(), nobody.bytes.toString()];
    expect(new Set(bodies).size).toBe(1);
    expect((await other.say("order.accepted", order_id)).status).toBe(404);
    expect((await seen(order_id)).status).toBe("paid");
    await other.close();
  });

  it("a genuine callback with invalid fields is refused with their names", async () => {
    const { order_id } = await paidOrder();
    expect((await shop.say("order.eaten", order_id)).status).toBe(422);
    expect((await shop.say("order.accepted", order_id, { data: { ready_at: "soon" } })).status).toBe(422);
    expect((await shop.say("order.accepted", newId())).status).toBe(404);
  });

  it("a partner without a system handles its orders by hand, and nothing is tried or alerts", async () => {
    const byHand = await kitchenWithoutSystem(api, root, [{ price: 950, stock: 9 }, { price: 420 }], {
      acceptance_minutes: 5,
    });
    const staff = await invited(api, root, { role: "partner", partner_id: byHand.partnerId });
    const post = (id: string, what: string, body: object = {}) =>
      api.request<Order & { ready_at?: string; code?: string }>(`POST /orders/${id}/${what}`, {
        ...{ token: staff.token, key: newId(), body },
      });
    const paidByHand = async () => {
      const made = await order(api, me, byHand, { quantities: [2, 1] });
      await atCheckout(made.checkout_url, { action: "pay" });
      const seenByStaff = await eventually(async () => {
        const { items } = await api.ok<{ items: (Order & { deadline_at?: string })[] }>(
          "GET /orders?status=paid",
          staff,
        );
        const found = items.find(({ id }) => id === made.order_id);
        const leftMs = Date.parse(found?.deadline_at ?? "") - Date.now();
        // The partner's five minutes, not the two after which a missing notice alerts.
        expect(leftMs).toBeGreaterThan(4 * MINUTE_MS);
        return found;
      });
      expect(Date.parse(seenByStaff?.deadline_at ?? "") - Date.now()).toBeLessThanOrEqual(5.5 * MINUTE_MS);
      return made;
    };
    const first = await paidByHand();
    await eventually(async () => {
      const { items } = await api.ok<{ items: Notified[] }>("GET /me/notifications", staff);
      const sent = items.find(({ event, order_id }) => event === "order.paid" && order_id === first.order_id);
      // The staff have no phone, so the mail alone is delivered.
      expect(sent?.attempts.map(({ channel, outcome }) => `${channel} ${outcome}`)).toEqual([
        "push skipped",
        "email accepted",
      ]);
    });
    const accepted = await post(first.order_id, "accept", { ready_in_minutes: 20 });
    expect(accepted).toMatchObject({ status: 200, body: { status: "preparing" } });
    expect((await post(first.order_id, "accept", { ready_in_minutes: 30 })).body).toEqual(accepted.body);
    const ready_at = soon(40);
    expect((await post(first.order_id, "delay", { ready_at })).body).toMatchObject({ ready_at });
    expect((await post(first.order_id, "ready")).body).toMatchObject({ status: "ready" });
    expect(await post(first.order_id, "reject", { reason: "closing" })).toMatchObject({
      ...{ status: 409, body: { code: "illegal_transition" } },
    });
    await eventually(async () => {
      const { items: steps } = await api.ok<{ items: { type: string; actor: string }[] }>(
        `GET /orders/${first.order_id}/history`,
        staff,
      );
      expect(steps.slice(2).map(({ type, actor }) => [type, actor])).toEqual([
        ["order.accepted", staff.id],
        ["order.delayed", staff.id],
        ["order.ready", staff.id],
      ]);
    });

    const second = await paidByHand();
    const [out, more] = byHand.products as [string, string];
    const rejection = { reason: "out_of_stock", text: "The last one was sold.", out_of_stock: [out] };
    const rejected = await post(second.order_id, "reject", rejection);
    expect(rejected).toMatchObject({ status: 200, body: { status: "cancelled", rejection } });
    await orderWhen(api, me, second.order_id, (now) =>
      expect(now).toMatchObject({ payment_status: "refunded", rejection }),
    );
    await eventually(async () => {
      const at = `/partners/${byHand.partnerId}/availability`;
      const stocks = await Promise.all(
        [out, more].map((id) => api.ok<{ stock?: number }>(`GET ${at}/${id}`, staff)),
      );
      expect(stocks.map(({ stock }) => stock)).toEqual([0, undefined]);
      const { items } = await api.ok<{ items: { event: string; body: string }[] }>(
        "GET /me/notifications",
        me,
      );
      const told = items.filter(({ event }) => event === "order.rejected");
      expect(told[0]?.body).toMatch(/sold out: Dish 0 .*\. The last one was sold\./);
    });

    const { items: tried } = await api.ok<{ items: unknown[] }>(
      `GET /partners/${byHand.partnerId}/webhook/deliveries`,
      staff,
    );
    expect(tried).toEqual([]);
    for (const { order_id } of [first, second]) {
      const { undelivered } = await api.ok<{ undelivered: unknown[] }>(`GET /orders/${order_id}/diagnosis`, {
        token: root,
      });
      expect(undelivered).toEqual([]);
    }
  });

  it("staff, couriers and operators follow what concerns them, and resume; a suspended user loses the stream", async () => {
    const [staff, courier, other] = await Promise.all([
      invited(api, root, { role: "partner", partner_id: shop.partnerId }),
      invited(api, root, { role: "deliverer" }),
      invited(api, root, { role: "deliverer" }),
    ]);
    const all = { token: root };
    const streams = {
      staff: await api.follow(`GET /partners/${shop.partnerId}/events`, staff),
      courier: await api.follow("GET /deliveries/events", courier),
      other: await api.follow("GET /deliveries/events", other),
      root: await api.follow("GET /events", all),
    };
    const opened = Object.values(streams);
    await eventually(() => {
      for (const { events } of opened) expect(events[0]).toMatchObject({ event: "reload" });
    });
    const { order_id } = await paidOrder();
    const seenBy = ({ events }: Stream) => {
      const own = events.filter(({ data }) => data.order_id === order_id);
      return own.map(({ event, data }) => (data.type ? `${event} ${data.type}` : event));
    };
    await eventually(() => expect(seenBy(streams.staff)).toContain("order order.paid"));
    streams.staff.end();
    const last = streams.staff.events.at(-1)?.id;
    await api.ok("PUT /deliveries/duty", { ...courier, body: { on_duty: true } });
    expect((await shop.say("order.ready", order_id)).status).toBe(202);
    await eventually(() => expect(seenBy(streams.other)).toEqual(["appeared"]));
    await api.ok(`POST /orders/${order_id}/assign`, { ...courier, key: newId() });
    await eventually(() => {
      expect(seenBy(streams.courier)).toEqual(["appeared", "mine order.assigned"]);
      expect(seenBy(streams.other)).toEqual(["appeared", "vanished"]);
      const steps = ["order.created", "order.paid", "order.ready", "order.assigned"];
      expect(seenBy(streams.root).toSorted()).toEqual(steps.map((step) => `order ${step}`).toSorted());
      expect(streams.root.events).toContainEqual(
        expect.objectContaining({
          event: "courier",
          data: expect.objectContaining({ courier_id: courier.id }),
        }),
      );
    });
    const resumed = await api.follow(`GET /partners/${shop.partnerId}/events`, {
      ...staff,
      headers: { "Last-Event-ID": String(last) },
    });
    await eventually(() => {
      expect([...seenBy(streams.staff), ...seenBy(resumed)].toSorted()).toEqual(
        seenBy(streams.root).toSorted(),
      );
    });
    expect(
      [...streams.staff.events, ...resumed.events].filter(({ event }) => event === "reload"),
    ).toHaveLength(1);
    await api.ok(`POST /users/${staff.id}/suspend`, { ...all, key: newId(), body: { reason: "A test." } });
    await eventually(() => expect(resumed.ended).toBe(true));
    expect(streams.root.ended).toBe(false);
    for (const stream of opened) stream.end();
  });

  it("the partner's staff sees its orders, another partner's staff does not", async () => {
    const { order_id } = await paidOrder();
    const other = await kitchen(api, root);
    const [mine, theirs] = await Promise.all([
      invited(api, root, { role: "partner", partner_id: shop.partnerId }),
      invited(api, root, { role: "partner", partner_id: other.partnerId }),
    ]);
    const { items } = await api.ok<{ items: Order[] }>("GET /orders?limit=100", mine);
    expect(items.map(({ id }) => id)).toContain(order_id);
    expect(items.some(({ pin, tracking_token }) => pin || tracking_token)).toBe(false);
    expect(await api.refused(`GET /orders/${order_id}`, theirs)).toMatchObject({ status: 404 });
    expect(await api.refused(`GET /orders/${order_id}/events`, theirs)).toMatchObject({ status: 404 });
    await other.close();
  });
});
