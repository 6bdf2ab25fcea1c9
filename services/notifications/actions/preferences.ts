import { invalidField } from "../../../contracts/errors.ts";
import type { Preferences } from "../../../contracts/notifications.ts";
import { type Clock, isoTime } from "../../../lib/clock.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import { deferredUntil, quietHoursProblem } from "../domain/quiet-hours.ts";
import { deferAllUntil } from "../store/deferred.repository.ts";
import { savePreferences } from "../store/recipients.repository.ts";

interface PreferencesDeps {
  postgres: Postgres;
  clock: Clock;
}

/**
 * Keeps somebody's wishes, which also hold for what waits for them already.
 * @throws VALIDATION_ERROR for quiet hours in no time zone, or without an end
 */
export async function setPreferences(
  { postgres, clock }: PreferencesDeps,
  userId: string,
  wanted: Preferences,
): Promise<void> {
  const trouble = wanted.quietHours && quietHoursProblem(wanted.quietHours);
  if (trouble) throw invalidField(trouble.field, "quietHours", trouble.message);
  const nowMs = clock.now();
  await postgres.transact(async (trx) => {
    await savePreferences(trx, userId, wanted);
    await deferAllUntil(trx, userId, isoTime(deferredUntil(wanted, nowMs) ?? nowMs));
  });
}
