import type { OrdersDependencies } from "../dependencies.ts";
import { dutyChanged } from "../domain/order-messages.ts";
import { endSilentDuties } from "../store/couriers.repository.ts";

/** After this time without a request of its courier a duty ends, and its position is deleted. */
const SILENT_DUTY_MS = 4 * 3_600_000;
const BATCH = 100;

export async function endForgottenDuties(
  { postgres, outbox }: Pick<OrdersDependencies, "postgres" | "outbox">,
  stopping?: AbortSignal,
): Promise<void> {
  let ended: number;
  do {
    ended = await postgres.db.transaction(async (trx) => {
      const couriers = await endSilentDuties(trx, SILENT_DUTY_MS, BATCH);
      await outbox.add(
        trx,
        couriers.map((courier) => dutyChanged(courier)),
      );
      return couriers.length;
    });
  } while (ended === BATCH && !stopping?.aborted);
}
