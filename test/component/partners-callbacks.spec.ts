import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import { signedHeaders } from "../../lib/webhook-signature.ts";
import { type PartnersHarness, startPartners } from "../support/partners.ts";

type Callback = Params<"orders.applyPartnerCallback">;

const applied: Callback[] = [];
let orders: (callback: Callback) => Promise<void>;
let shop: PartnersHarness;
const clock = { aheadMs: 0, now: () => Date.now() + clock.aheadMs };
const apply = async (callback: Callback) => {
  applied.push(callback);
};
beforeAll(async () => {
  shop = await startPartners({ applyPartnerCallback: (callback) => orders(callback), clock });
});
beforeEach(() => {
  applied.length = 0;
  orders = apply;
  clock.aheadMs = 0;
});
afterAll(() => shop.stop());

async function integrated() {
  const { id: partnerId } = await shop.openPartner();
  const url = "https://shop.example/hooks";
  const { secret = "" } = await shop.asAdmin("partners.setWebhook", { partnerId, url, enabled: true });
  return { partnerId, secret };
}

const orderId = newId();
const ready = { type: "order.ready", timestamp: "2026-11-22T10:00:00Z", data: { order_id: orderId } };

async function send(
  partnerId: string,
  secrets: string[],
  content: unknown = ready,
  change: Record<string, string> = {},
  id: string = newId(),
) {
  const body = typeof content === "string" ? content : JSON.stringify(content);
  const headers = {
    "content-type": "application/json",
    ...signedHeaders(id, body, secrets, clock.now()),
    ...change,
  };
  await shop.bare("partners.receiveCallback", { partnerId, headers, body });
  return { id, body };
}

/** Everything that an answer could tell apart. */
async function refusal(work: Promise<unknown>): Promise<object> {
  const error = (await work.then(
    () => fail("INTERNAL", "it was accepted"),
    (thrown) => thrown,
  )) as { type: string; code: number; message: string; data?: unknown };
  return { type: error.type, code: error.code, message: error.message, data: error.data };
}

describe("partners.receiveCallback", () => {
  it("with a genuine callback, responds after Orders has committed it", async () => {
    const { partnerId, secret } = await integrated();
    const said = {
      ...ready,
      type: "order.delayed",
      data: { order_id: orderId, reason: "Oven", ready_at: "2026-11-22T11:00:00Z" },
    };
    const { id, body } = await send(partnerId, [secret], said);
    expect(applied).toEqual([
      {
        ...{ partnerId, eventId: id, type: "order.delayed", orderId },
        bodyHash: createHash("sha256").update(body).digest("hex"),
        ...{ reason: "Oven", readyAt: "2026-11-22T11:00:00Z", saidAt: ready.timestamp },
      },
    ]);
  });

  it("without a time of its event, passes on the time of its signature", async () => {
    const { partnerId, secret } = await integrated();
    const { type, data } = ready;
    const signedAt = Math.floor(Date.now() / 1_000) - 7;
    clock.aheadMs = signedAt * 1_000 - Date.now();
    const id = newId();
    await send(partnerId, [secret], { type, data }, {}, id);
    const [callback] = applied;
    const second = 1_000 * Math.floor(Date.parse(callback?.saidAt ?? "") / 1_000);
    expect(Date.parse(callback?.saidAt ?? "")).toBe(second);
    expect(Math.abs(second / 1_000 - signedAt)).toBeLessThan(30);
    expect(applied).toMatchObject([{ eventId: id, type, orderId }]);
  });

  it("with a forged callback, is refused with the same response for every reason and does not call Orders", async () => {
    const { partnerId, secret } = await integrated();
    const other = await integrated();
    const bare = await shop.openPartner();
    const late = String(Math.floor(Date.now() / 1000) - 400);
    const answers = [
      await refusal(send(newId(), [secret])),
      await refusal(send(bare.id, [secret])),
      await refusal(send(partnerId, [other.secret])),
      await refusal(send(other.partnerId, [secret])),
      await refusal(send(partnerId, [secret], ready, { "webhook-timestamp": late })),
      await refusal(send(partnerId, [secret], ready, { "webhook-id": newId() })),
      await refusal(send(partnerId, [secret], ready, { "webhook-signature": "" })),
      await refusal(send(partnerId, [secret], ready, { "webhook-signature": "v1,AAAA v2,BBBB" })),
      await refusal(send(partnerId, [], "not even JSON")),
    ];
    expect(answers[0]).toMatchObject({ type: "BAD_SIGNATURE", code: 401 });
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(applied).toEqual([]);
  });

  it("during the replacement of the secret, accepts both secrets, and a day later only the new one", async () => {
    const { partnerId, secret } = await integrated();
    const { secret: next = "" } = await shop.asAdmin("partners.rotateWebhookSecret", { partnerId });
    for (const one of [secret, next]) await send(partnerId, [one]);
    expect(applied).toHaveLength(2);
    clock.aheadMs = 86_400_001;
    await expect(send(partnerId, [secret])).rejects.toMatchObject({ type: "BAD_SIGNATURE" });
    await send(partnerId, [next]);
    expect(applied).toHaveLength(3);
  });

  it("with a disabled endpoint, is accepted", async () => {
    const { partnerId, secret } = await integrated();
    const url = "https://shop.example/hooks";
    await shop.asAdmin("partners.setWebhook", { partnerId, url, enabled: false });
    await send(partnerId, [secret]);
    expect(applied).toHaveLength(1);
  });

  it.each([
    ["no JSON", "{", "BAD_JSON"],
    ["no object", "null", "VALIDATION_ERROR"],
    ["an unknown type", { ...ready, type: "order.eaten" }, "VALIDATION_ERROR"],
    ["no order", { ...ready, data: {} }, "VALIDATION_ERROR"],
    ["an order id that is none", { ...ready, data: { order_id: "42" } }, "VALIDATION_ERROR"],
    ["an unknown field", { ...ready, data: { order_id: orderId, redy_at: "x" } }, "VALIDATION_ERROR"],
    ["a time that is none", { ...ready, data: { order_id: orderId, ready_at: "noon" } }, "VALIDATION_ERROR"],
  ])("genuine but with %s, is refused", async (_, content, type) => {
    const { partnerId, secret } = await integrated();
    await expect(send(partnerId, [secret], content)).rejects.toMatchObject({ type });
    expect(applied).toEqual([]);
  });

  it.each(["NOT_FOUND", "ILLEGAL_TRANSITION", "EVENT_MISMATCH"] as const)(
    "refused by Orders with %s, returns that refusal",
    async (type) => {
      orders = async () => {
        throw fail(type, "because", { legal: ["ready"] });
      };
      const { partnerId, secret } = await integrated();
      await expect(send(partnerId, [secret])).rejects.toMatchObject({ type, data: { legal: ["ready"] } });
    },
  );

  it("without a response of Orders in time, asks the partner to retry", async () => {
    const hanging = Promise.withResolvers<void>();
    const patient = shop;
    shop = await startPartners({
      settings: { REQUEST_TIMEOUT_MS: 1_800 },
      applyPartnerCallback: () => hanging.promise,
    });
    try {
      const { partnerId, secret } = await integrated();
      await expect(send(partnerId, [secret])).rejects.toMatchObject({
        ...{ type: "SERVICE_UNAVAILABLE", code: 503 },
      });
      hanging.resolve();
    } finally {
      await shop.stop();
      shop = patient;
    }
    const { partnerId, secret } = await integrated();
    orders = async () => {
      throw new Error("a bug");
    };
    await expect(send(partnerId, [secret])).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
  });

  it("without any process of Orders, asks the partner to retry", async () => {
    const alone = await startPartners({ url: shop.url });
    const { partnerId, secret } = await integrated();
    const body = JSON.stringify(ready);
    const headers = { ...signedHeaders(newId(), body, [secret], Date.now()) };
    const sent = alone.bare("partners.receiveCallback", { partnerId, headers, body });
    await expect(sent).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    await alone.stop();
  });
});
