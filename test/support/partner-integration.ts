import { expect } from "@jest/globals";
import type { WebhookDelivery } from "../../contracts/partners.ts";
import { newId } from "../../lib/ids.ts";
import type { FailedAttempt } from "../../services/partners/domain/webhook-schedule.ts";
import { eventually } from "./eventually.ts";
import { type Behaviour, startPartnerSystem } from "./partner-system.ts";
import { lineOf, orderOf, type PartnersHarness, reservationOf } from "./partners.ts";

export const TRIES = 10;
/** For the tests of partners that hang. Elsewhere an attempt that a busy machine makes slow must not count as failed. */
export const SHORT_TIMEOUT_MS = 250;
const TIMEOUT_MS = 10_000;

/** Ten tries without waits; what each was asked with stands in `failures`. */
export function quickWebhooks(failures: FailedAttempt[] = [], timeoutMs = TIMEOUT_MS) {
  return {
    limits: { timeoutMs, sweepMs: 20, perPartner: 2, drainMs: 50 },
    schedule: (failed: FailedAttempt) => {
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

/** A message about an order whose next try waits until then. */
export async function waitingTry(
  shop: PartnersHarness,
  { partnerId, orderId, dueAt }: { partnerId: string; orderId: string; dueAt: string },
): Promise<void> {
  await shop.sql(
    `WITH message AS (
       INSERT INTO webhook_messages (id, partner_id, message_id, type, order_id, urgency, body)
       VALUES ($1, $2, $3, 'order.paid', $4, 'preparation', '{}') RETURNING id, partner_id)
     INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at)
     SELECT $5, id, partner_id, 1, 'pending', $6 FROM message`,
    [newId(), partnerId, newId(), orderId, newId(), dueAt],
  );
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
