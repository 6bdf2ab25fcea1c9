import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { checkHealth } from "../../mixins/health/health.mixin.ts";
import { eventually } from "../support/eventually.ts";
import { integrated, quickWebhooks, until } from "../support/partner-integration.ts";
import { type PartnersHarness, startPartners } from "../support/partners.ts";

const AT_ONCE = 4;

let shop: PartnersHarness;
beforeAll(async () => {
  const { schedule, limits } = quickWebhooks();
  shop = await startPartners({
    webhooks: { schedule, limits: { ...limits, timeoutMs: 500, atOnce: AT_ONCE, saturatedMs: 50 } },
  });
});
afterAll(() => shop.stop());

const degraded = async () =>
  (await checkHealth(shop.broker)).find(({ check }) => check === "webhooks")?.degraded;

it("webhooks at their concurrency limit for long are shown in /readyz, raise an alert, and share it fairly", async () => {
  expect(await degraded()).toBeUndefined();
  const hanging = await Promise.all(Array.from({ length: AT_ONCE }, () => integrated(shop, "hang")));
  for (const { order } of hanging)
    for (let count = 0; count < 3; count++) await shop.say("order.paid", order());
  await eventually(async () => {
    expect(await degraded()).toContain("partner webhooks: the concurrency limit");
    expect(shop.said).toContainEqual(
      expect.objectContaining({ data: expect.objectContaining({ kind: "webhook.saturated" }) }),
    );
  });
  const healthy = await integrated(shop);
  await shop.say("order.paid", healthy.order());
  await until(shop, healthy.partnerId, "accepted");
  for (const { system } of hanging) {
    expect(system.state.mostOpen).toBeLessThanOrEqual(2);
    system.does({ status: 204 });
  }
  await eventually(async () => expect(await degraded()).toBeUndefined());
});
