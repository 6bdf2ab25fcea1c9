import type { Knex } from "knex";
import { message } from "../../../contracts/messages.ts";
import type { Partner } from "../../../contracts/partners.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import type { PartnerRow } from "./partners.repository.ts";
import { partnerView } from "./views.ts";

/** The partner as it now is, told to whoever listens in the same transaction. */
export async function announced(
  { outbox, clock }: Pick<PartnersDependencies, "outbox" | "clock">,
  trx: Knex.Transaction,
  saved: PartnerRow,
): Promise<Partner> {
  const partner = partnerView(saved, clock.now());
  await outbox.add(trx, [message("partner.updated", partner.id, { version: partner.version, partner })]);
  return partner;
}
