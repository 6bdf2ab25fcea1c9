import { message } from "../../../contracts/messages.ts";
import type { Partner } from "../../../contracts/partners.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import type { PartnerRow } from "../store/partners.repository.ts";
import { partnerView } from "./views.ts";

/** Adds `partner.updated` to the outbox in the same transaction and returns the partner. */
export async function announcePartner(
  { outbox, clock }: Pick<PartnersDependencies, "outbox" | "clock">,
  trx: Transaction,
  saved: PartnerRow,
): Promise<Partner> {
  const partner = partnerView(saved, clock.now());
  await outbox.add(trx, [message("partner.updated", partner.id, { version: partner.version, partner })]);
  return partner;
}
