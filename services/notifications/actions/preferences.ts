import type { Params } from "../../../contracts/actions.ts";
import { invalidField } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { Preferences } from "../../../contracts/notifications.ts";
import { type Clock, isoTime } from "../../../lib/clock.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import { deferredUntil, quietHoursProblem } from "../domain/quiet-hours.ts";
import { deferAllUntil } from "../store/deferred.repository.ts";
import { preferencesOf, savePreferences } from "../store/recipients.repository.ts";

export interface PreferencesDeps {
  postgres: Postgres;
  clock: Clock;
  /** Makes the worker enqueue the deferred notifications that are due now. */
  wakeDeferred(): void;
}

export async function getPreferences(
  { postgres }: Pick<PreferencesDeps, "postgres">,
  ctx: Ctx<unknown>,
): Promise<Preferences> {
  return await preferencesOf(postgres.db, callerOf(ctx).id);
}

/**
 * Saves the preferences of the caller and applies them to the notifications that are deferred already.
 * @throws VALIDATION_ERROR for quiet hours with an unknown time zone or without an end
 */
export async function setPreferences(
  { postgres, clock, wakeDeferred }: PreferencesDeps,
  ctx: Ctx<Params<"notifications.setPreferences">>,
): Promise<Preferences> {
  const { id: userId } = callerOf(ctx);
  const preferences = ctx.params;
  const problem = preferences.quietHours && quietHoursProblem(preferences.quietHours);
  if (problem) throw invalidField(problem.field, "quietHours", problem.message);
  const nowMs = clock.now();
  await postgres.transact(async (trx) => {
    await savePreferences(trx, userId, preferences);
    await deferAllUntil(trx, userId, isoTime(deferredUntil(preferences, nowMs) ?? nowMs));
  });
  wakeDeferred();
  return preferences;
}
