import type { OrdersDependencies } from "../dependencies.ts";
import { endSilentDuties } from "../store/couriers.repository.ts";

/** After this time without a request of its courier a duty ends, and its position is deleted. */
const SILENT_DUTY_MS = 4 * 3_600_000;
const BATCH = 100;

export async function endForgottenDuties(
  { postgres }: Pick<OrdersDependencies, "postgres">,
  stopping?: AbortSignal,
): Promise<void> {
  let ended: string[];
  do {
    ended = await endSilentDuties(postgres.db, SILENT_DUTY_MS, BATCH);
  } while (ended.length === BATCH && !stopping?.aborted);
}
