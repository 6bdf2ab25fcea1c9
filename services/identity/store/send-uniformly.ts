import type { Knex } from "knex";
import type { IdentityDependencies } from "../dependencies.ts";
import { type Allowance, countUse } from "./limits.repository.ts";
import { type Mail, mail } from "./messages.ts";
import { DEFAULT_LANGUAGE } from "./people.ts";
import type { ProfileRow } from "./profiles.repository.ts";

/** Allows nothing and forbids nothing: what counts is that it is written. */
const NO_LETTER: Allowance = { scope: "no-letter", max: 1, windowSeconds: 60 };

/**
 * Sends a letter or, where there is nobody to send it to, does the same work and writes as many rows in the same
 * transaction: how long the answer takes tells a stranger nothing of who has an account.
 * @param profile whose letter it is; undefined where none is due
 */
export async function sendUniformly(
  parts: IdentityDependencies,
  trx: Knex.Transaction,
  profile: ProfileRow | undefined,
  letter: Pick<Mail, "template" | "email" | "values">,
): Promise<void> {
  const { id: userId, language = DEFAULT_LANGUAGE } = profile ?? {};
  const ready = mail(parts, { ...letter, language, ...(userId && { userId }) });
  if (profile) await parts.out.add(trx, [ready]);
  else await countUse(trx, NO_LETTER, parts.digest(letter.email));
}
