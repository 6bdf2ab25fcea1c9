import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { databaseUrlOf, plantedLetters } from "../support/dead-letters.ts";
import { eventually } from "../support/eventually.ts";
import { platform } from "../support/platform.ts";
import { query } from "../support/sql.ts";
import { type Client, connect } from "./client.ts";
import { covered } from "./covered.ts";
import { strayBank } from "./stray-bank.ts";
import {
  admin,
  atCheckout,
  carriedOrder,
  customer,
  invited,
  type Kitchen,
  kitchen,
  type Order,
  order,
  orderWhen,
  type Person,
} from "./world.ts";

let api: Client;
let root: string;
let me: Person;
let shop: Kitchen;
let courier: Person;

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  [me, courier, shop] = await Promise.all([
    customer(api),
    invited(api, root, { role: "deliverer" }),
    kitchen(api, root),
  ]);
});
afterAll(async () => {
  await shop?.close();
  expect([...(api?.reached ?? [])]).toEqual(expect.arrayContaining([...covered["scenario-9"]]));
});

const cancel = (id: string, by: { token: string }, reason = "Changed my mind.") =>
  api.request<Order & { code: string; data?: { legal: string[] } }>(`POST /orders/${id}/cancel`, {
    token: by.token,
    key: newId(),
    body: { reason },
  });
const asAdmin = (operation: string, body?: object) =>
  api.ok<Order>(operation, { token: root, key: newId(), ...(body && { body }) });

describe("scenarios 9 and 10, cancel, refund and operate", () => {
  it("an unpaid order is cancelled by its customer, and a repeat gets the same response", async () => {
    const { order_id } = await order(api, me, shop);
    const first = await cancel(order_id, me);
    expect(first.body).toMatchObject({ status: "cancelled", payment_status: "unpaid" });
    expect((await cancel(order_id, me)).body).toMatchObject({ status: "cancelled" });
  });

  it("a payment without an order is listed, refunded, retried, or assigned to an order", async () => {
    const bank = await strayBank(api, root);
    const [first, second] = [await bank.pay(5000), await bank.pay(100_000)];
    const unmatched = async (id: string) => {
      const { items } = await api.ok<{ items: { id: string; refund?: { id: string; state: string } }[] }>(
        "GET /payments/unmatched?limit=100",
        { token: root },
      );
      return items.find((one) => one.id === id);
    };
    const back = (path: string) =>
      api.ok<{ id: string; state: string }>(`POST ${path}`, {
        token: root,
        key: newId(),
        body: { reason: "Not ours" },
      });
    const refund = await back(`/payments/${first}/refund`);
    await eventually(async () =>
      expect((await unmatched(first))?.refund).toMatchObject({ id: refund.id, state: "failed" }),
    );
    const again = await back(`/refunds/${refund.id}/retry`);
    expect(again.id).not.toBe(refund.id);
    const made = await order(api, me, shop, { bankId: bank.bankId });
    const assigned = await api.ok<Order>(`POST /payments/${second}/assign`, {
      token: root,
      key: newId(),
      body: { order_id: made.order_id, reason: "By telephone" },
    });
    expect(assigned).toMatchObject({ id: made.order_id, status: "paid", paid: { amount_minor: 100_000 } });
    expect(await unmatched(second)).toBeUndefined();
    expect((await api.ok<{ items: unknown[] }>("GET /disputes", { token: root })).items).toEqual([]);
    bank.stop();
  });

  it("a paid order can be cancelled and is refunded until its preparation begins", async () => {
    const made = await order(api, me, shop);
    await atCheckout(made.checkout_url, { action: "pay" });
    await orderWhen(api, me, made.order_id, ({ status }) => expect(status).toBe("paid"));
    expect((await cancel(made.order_id, me)).status).toBe(200);
    await orderWhen(api, me, made.order_id, ({ payment_status, refunded }) => {
      expect({ payment_status, refunded }).toEqual({ payment_status: "refunded", refunded: made.total });
    });
  });

  it("during the delivery, the customer cannot cancel and gets the legal next states", async () => {
    const { order_id } = await carriedOrder(api, me, shop, courier);
    const refused = await cancel(order_id, me);
    expect(refused).toMatchObject({ status: 409, body: { code: "order_not_cancellable" } });
    expect(refused.body.data?.legal).toEqual(expect.arrayContaining(["delivered", "ready", "failed"]));
    expect((await cancel(order_id, courier)).status).toBe(403);
    expect((await cancel(order_id, await customer(api))).status).toBe(404);
  });

  it("an operator reassigns an order, overrides its state and refunds money", async () => {
    const other = await invited(api, root, { role: "deliverer" });
    const { order_id, total } = await carriedOrder(api, me, shop, courier);
    const reason = "The courier has a flat tyre.";
    const body = { deliverer_id: other.id, reason };
    expect(await asAdmin(`POST /orders/${order_id}/reassign`, body)).toMatchObject({
      status: "delivering",
      deliverer_id: other.id,
    });
    expect(await asAdmin(`POST /orders/${order_id}/override`, { to: "delivered", reason })).toMatchObject({
      status: "delivered",
    });
    const amount = { amount_minor: 100, currency: "EUR" };
    await asAdmin(`POST /orders/${order_id}/refund`, { amount, reason: "For the wait." });
    await orderWhen(api, me, order_id, ({ refunded, payment_status }) => {
      expect({ refunded, payment_status }).toEqual({
        refunded: amount,
        payment_status: "partially_refunded",
      });
    });
    expect(
      await api.refused(`POST /orders/${order_id}/refund`, {
        token: root,
        key: newId(),
        body: { amount: total, reason: "More than there is." },
      }),
    ).toEqual({ status: 422, code: "validation_error" });
    expect(
      await api.refused(`POST /orders/${order_id}/override`, {
        token: root,
        key: newId(),
        body: { to: "pending", reason },
      }),
    ).toMatchObject({ status: 409 });
  });

  it("the diagnosis of an order is one response, which names what the order waits for", async () => {
    const made = await order(api, me, shop);
    const finding = async () =>
      (
        await api.ok<{ findings: { cause: string }[] }>(`GET /orders/${made.order_id}/diagnosis`, {
          token: root,
        })
      ).findings[0]?.cause;
    expect(["no_callback", "not_paid"]).toContain(await finding());
    shop.answer = () => 500;
    await atCheckout(made.checkout_url, { action: "pay" });
    await eventually(async () => expect(await finding()).toBe("webhook_failing"));
    const diagnosis = await api.ok<{ webhooks: { type: string }[] }>(
      `GET /orders/${made.order_id}/diagnosis`,
      {
        token: root,
      },
    );
    expect(diagnosis).toMatchObject({
      order: { id: made.order_id },
      findings: [{ evidence: expect.arrayContaining(["last answer: status 500"]) }, {}],
      not_asked: [],
      receipts: [{ outcome: "accepted", amount: made.total }],
      deadline: { overdue: false },
    });
    expect(diagnosis.webhooks[0]?.type).toBe("order.paid");
    shop.answer = () => 204;
    await eventually(async () => expect(await finding()).toBe("partner_silent"));
    await cancel(made.order_id, me);
    expect(await finding()).toBe("ended");
    expect(await api.refused(`GET /orders/${made.order_id}/diagnosis`, me)).toMatchObject({ status: 403 });
  });

  it("stuck orders are listed by cause and counted in groups", async () => {
    const { order_id } = await order(api, me, shop);
    await query(
      databaseUrlOf((await platform()).dataDir, "orders"),
      "UPDATE orders SET alerted_at = now() WHERE id = $1",
      [order_id],
    );
    const stuck = await api.ok<{ items: { id: string }[]; groups: object[] }>(
      `GET /orders/stuck?cause=not_paid&by=partner&partner_id=${shop.partnerId}`,
      { token: root },
    );
    expect(stuck.items.map(({ id }) => id)).toEqual([order_id]);
    expect(stuck.groups).toEqual([{ name: shop.title, count: 1, oldest: expect.any(String) }]);
    expect(await api.refused("GET /orders/stuck", me)).toMatchObject({ status: 403 });
    await cancel(order_id, me);
  });

  it("dead letters are replayed and dropped by service and filter, by operators only", async () => {
    const url = databaseUrlOf((await platform()).dataDir, "identity");
    const consumer = `c-${newId()}`;
    await query(url, plantedLetters({ consumer, count: 3, error: "the store is away" }));
    await query(url, plantedLetters({ consumer, error: "no reason" }));
    const token = { token: root };
    const replay = (by: { token: string }) => ({
      ...by,
      key: newId(),
      body: { service: "identity", consumer },
    });
    expect(await api.refused("POST /dead-letters/replay", replay(me))).toMatchObject({ status: 403 });
    expect(await api.ok("POST /dead-letters/replay", replay(token))).toEqual({
      replayed: 4,
      refused: [],
      left: 0,
    });
    await query(url, `UPDATE inbox SET state = 'dead', error = 'no reason' WHERE consumer = '${consumer}'`);
    await query(
      url,
      `UPDATE inbox SET error = 'the store is away' WHERE consumer = '${consumer}'
         AND message_id IN (SELECT message_id FROM inbox WHERE consumer = '${consumer}' LIMIT 3)`,
    );
    const drop = (more: string) => `DELETE /dead-letters?service=identity&consumer=${consumer}${more}`;
    expect(await api.refused(drop(""), me)).toMatchObject({ status: 403 });
    expect(await api.refused("DELETE /dead-letters", token)).toMatchObject({ status: 422 });
    expect(await api.refused(drop("&limit=1001"), token)).toMatchObject({ status: 422 });
    const reason = "&reason=store%20is%20away";
    expect(await api.ok(drop(`${reason}&limit=0`), token)).toEqual({ dropped: 0, left: 3 });
    expect(await api.ok(drop(`${reason}&limit=2`), token)).toEqual({ dropped: 2, left: 1 });
    expect(await api.ok(drop(reason), token)).toEqual({ dropped: 1, left: 0 });
    expect(await api.ok(drop(reason), token)).toEqual({ dropped: 0, left: 0 });
    const states = await query(url, `SELECT state FROM inbox WHERE consumer = '${consumer}' ORDER BY 1`);
    expect(states).toEqual([{ state: "dead" }, ...Array(3).fill({ state: "dropped" })]);
    const detail = `2 dropped, 1 left of consumer=${consumer}, reason=store is away`;
    await eventually(async () => {
      const { items } = await api.ok<{ items: object[] }>("GET /audit?limit=100", token);
      expect(items).toContainEqual(
        expect.objectContaining({ action: "identity.dropDeadLetters", subject: "identity", detail }),
      );
    });
  });

  it("only operators can read dead letters and the audit log", async () => {
    const dead = await api.ok<{ items: object[]; unreachable: string[] }>("GET /dead-letters?limit=10", {
      token: root,
    });
    expect(dead.unreachable).toEqual([]);
    const audit = await api.ok<{ items: { action: string }[] }>("GET /audit?limit=100", { token: root });
    expect(audit.items.length).toBeGreaterThan(0);
    expect(await api.refused("GET /audit", me)).toMatchObject({ status: 403 });
    const unknown = `orders:${newId()}`;
    expect(
      await api.refused(`POST /dead-letters/${unknown}/replay`, { token: root, key: newId() }),
    ).toMatchObject({
      status: 404,
    });
    expect(await api.refused(`DELETE /dead-letters/${unknown}`, { token: root })).toMatchObject({
      status: 404,
    });
  });
});
