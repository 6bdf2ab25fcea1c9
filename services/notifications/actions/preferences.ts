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
 * Saves the preferences of a user and applies them to the notifications that are deferred already.
 * @throws VALIDATION_ERROR for quiet hours with an unknown time zone or without an end
 */
export async function setPreferences(
  { postgres, clock }: PreferencesDeps,
  userId: string,
  preferences: Preferences,
): Promise<void> {
  const problem = preferences.quietHours && quietHoursProblem(preferences.quietHours);
  if (problem) throw invalidField(problem.field, "quietHours", problem.message);
  const nowMs = clock.now();
  await postgres.transact(async (trx) => {
    await savePreferences(trx, userId, preferences);
    await deferAllUntil(trx, userId, isoTime(deferredUntil(preferences, nowMs) ?? nowMs));
  });
}
