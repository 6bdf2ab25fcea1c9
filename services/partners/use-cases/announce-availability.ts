import type { Availability } from "../../../contracts/catalogue.ts";
import { message } from "../../../contracts/messages.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import type { AvailabilityRow } from "../store/products.repository.ts";
import { availabilityView } from "./views.ts";

/** Adds `availability.changed` to the outbox in the same transaction and returns the offer. */
export async function announceAvailability(
  { outbox }: Pick<PartnersDependencies, "outbox">,
  trx: Transaction,
  saved: AvailabilityRow,
  deleted: boolean,
): Promise<Availability> {
  const availability = availabilityView(saved);
  const data = { version: availability.version, availability, deleted };
  await outbox.add(trx, [message("availability.changed", saved.productId, data)]);
  return availability;
}
