import type { Transaction } from "../../../lib/sql/database.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { DEFAULT_LANGUAGE } from "../domain/profile-fields.ts";
import { type Allowance, countUse } from "../store/limits.repository.ts";
import type { ProfileRow } from "../store/profiles.repository.ts";
import { type Mail, mailMessage } from "./messages.ts";

/** Limits nothing. Only the write matters, because it takes as long as a real mail. */
const NO_MAIL: Allowance = { scope: "no-letter", max: 1, windowSeconds: 60 };

/**
 * Sends a mail or, without an account to send it to, does the same work and writes the same number of rows in the same
 * transaction, so that the response time does not reveal which addresses have an account.
 * @param profile the receiver; undefined when no mail is due
 */
export async function sendUniformly(
  deps: IdentityDependencies,
  trx: Transaction,
  profile: ProfileRow | undefined,
  request: Pick<Mail, "template" | "email" | "values">,
): Promise<void> {
  const { id: userId, language = DEFAULT_LANGUAGE } = profile ?? {};
  const ready = mailMessage(deps, { ...request, language, ...(userId && { userId }) });
  if (profile) await deps.outbox.add(trx, [ready]);
  else await countUse(trx, NO_MAIL, deps.digest(request.email));
}
