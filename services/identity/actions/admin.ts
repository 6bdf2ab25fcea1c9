import type { Params, Result } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Message } from "../../../contracts/messages.ts";
import { isId } from "../../../lib/ids.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { DEFAULT_LANGUAGE } from "../domain/profile-fields.ts";
import { addAudit, addRemoteAudit, auditPage } from "../store/audit.repository.ts";
import { profileByEmail, saveNewProfile } from "../store/profiles.repository.ts";
import { withAddressLock } from "../use-cases/address-lock.ts";
import { userMessage } from "../use-cases/messages.ts";
import { openAccount } from "./invitations.ts";

const PAGE_SIZE = 50;
const NAME = "Admin";

/**
 * Creates the first admin. An existing admin is not changed, so the launcher can call this at every start.
 * @throws EMAIL_TAKEN when the address belongs to another user, PASSWORD_TOO_COMMON, VALIDATION_ERROR
 */
export async function createFirstAdmin(
  deps: IdentityDependencies,
  { email, password }: Params<"identity.createAdmin">,
): Promise<Result<"identity.createAdmin">> {
  const present = await profileByEmail(deps.postgres.db, email);
  if (present?.emailConfirmed) {
    if (present.role === "admin") return { userId: present.id, created: false };
    throw fail("EMAIL_TAKEN", "This address has an account that is no admin's.");
  }
  const grant = { role: "admin" } as const;
  return withAddressLock(deps, email, async () => {
    const userId = await openAccount(deps, { email, password, grant }, []);
    const created = await deps.postgres.transact(async (trx) => {
      const profile = await saveNewProfile(trx, {
        id: userId,
        email,
        emailConfirmed: true,
        firstName: NAME,
        language: DEFAULT_LANGUAGE,
        grant,
      });
      if (!profile) return false; // another process created it meanwhile
      await addAudit(trx, { action: "admin.created", subject: userId });
      await deps.outbox.add(trx, [userMessage("user.registered", profile)]);
      return true;
    });
    return { userId, created };
  });
}

/** Records the act of an operator at another service. */
export async function recordAudit(
  trx: Transaction,
  { id, time, data }: Message<"audit.recorded">,
): Promise<void> {
  const { version: _, ...entry } = data;
  await addRemoteAudit(trx, id, time, entry);
}

/** The audit log by pages, newest first. @throws VALIDATION_ERROR for an unknown cursor */
export async function listAudit(
  { postgres }: IdentityDependencies,
  { cursor, limit = PAGE_SIZE }: Params<"identity.audit">,
): Promise<Result<"identity.audit">> {
  if (cursor !== undefined && !isId(cursor))
    throw invalidField("cursor", "cursor", "Is not a cursor of ours.");
  const found = await auditPage(postgres.db, limit + 1, cursor);
  const items = found.slice(0, limit);
  return { items, ...(found.length > limit && { nextCursor: items.at(-1)?.id as string }) };
}
