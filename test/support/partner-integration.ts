import { expect } from "@jest/globals";
import type { WebhookDelivery } from "../../contracts/partners.ts";
import type { FailedTry } from "../../services/partners/webhooks/schedule.ts";
import { eventually } from "./eventually.ts";
import { type Behaviour, startPartnerSystem } from "./partner-system.ts";
import { lineOf, orderOf, type PartnersHarness, reservationOf } from "./partners.ts";

export const TRIES = 10;
export const TIMEOUT_MS = 250;

/** Ten tries without waits; what each was asked with stands in `failures`. */
export function quickWebhooks(failures: FailedTry[] = []) {
  return {
    limits: { timeoutMs: TIMEOUT_MS, sweepMs: 20, perPartner: 2, drainMs: 50 },
    schedule: (failed: FailedTry) => {
      failures.push(failed);
      return failed.urgency === "test" || failed.attempt >= TRIES ? undefined : 1;
    },
  };
}

/** A partner whose system behaves so, with the secret that it was given. */
export async function integrated(shop: PartnersHarness, behaviour?: Behaviour) {
  const system = await startPartnerSystem(behaviour);
  shop.afterStop(system.stop);
  const partner = await shop.openPartner();
  const partnerId = partner.id;
  const endpoint = { partnerId, url: system.url, enabled: true };
  const { secret = "" } = await shop.asAdmin("partners.setWebhook", endpoint);
  const offer = await shop.product(partnerId);
  const order = () => orderOf(reservationOf(partner, [lineOf(offer, 2)]), { note: "No nuts" });
  return { system, partner, partnerId, secret, offer, order };
}

export async function deliveriesOf(shop: PartnersHarness, partnerId: string): Promise<WebhookDelivery[]> {
  return (await shop.asAdmin("partners.listWebhookDeliveries", { partnerId, limit: 100 })).items;
}

/** Waits until the latest try of a partner is in this state; answers all of them, the latest first. */
export async function until(
  shop: PartnersHarness,
  partnerId: string,
  state: WebhookDelivery["state"],
): Promise<WebhookDelivery[]> {
  return await eventually(async () => {
    const deliveries = await deliveriesOf(shop, partnerId);
    expect(deliveries[0]).toMatchObject({ state });
    return deliveries;
  });
}
