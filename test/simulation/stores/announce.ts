import { message } from "../../../contracts/messages.ts";
import type { Outbox } from "../../../mixins/outbox/outbox.mixin.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type * as real from "../../../services/partners/use-cases/enqueue-webhooks.ts";
import type { Machine } from "../engine.ts";
import { type Server, statement } from "../memory.ts";

/** An event for the partner's system, as the queue of its webhooks would store it. */
export interface ToldRecord {
  orderId: string;
  partnerId: string;
  stopped: boolean;
  /** The last outcome of the notice that was reported to Orders. */
  outcome?: "delivered" | "unreachable" | "held_up";
}

/** How often the platform cannot make a try, and how often the partner's system does not take it. */
const HELD_UP = 0.2;
const UNREACHABLE = 0.2;

/** One pass of the sender over what waits: the first try of each, as far as Orders gets a message about it. */
export async function firstTries(
  { server, machine }: { server: Server; machine: Machine },
  postgres: Postgres,
  outbox: Pick<Outbox, "add">,
): Promise<void> {
  const { world } = machine;
  const waits = ({ stopped, outcome }: ToldRecord) => !stopped && (!outcome || outcome === "held_up");
  for (const { orderId, partnerId } of server.all<ToldRecord>("webhooks").filter(waits)) {
    const held = world.trouble(HELD_UP);
    const outcome = held ? "held_up" : world.trouble(UNREACHABLE) ? "unreachable" : "delivered";
    await postgres.transact(async (trx) => {
      const noted = await statement(trx, (view) => {
        const told = view.locked<ToldRecord>("webhooks", orderId);
        if (!told || !waits(told) || told.outcome === outcome) return false;
        view.update("webhooks", orderId, { ...told, outcome });
        return true;
      });
      if (!noted) return;
      await outbox.add(trx, [
        message("partner.notified", orderId, { version: 1, orderId, partnerId, outcome }),
      ]);
    });
  }
}

export const enqueuePreparations: typeof real.enqueuePreparations = async (trx, paid) => {
  await statement(trx, (view) => {
    for (const { data } of paid) {
      const { orderId, partnerId } = data;
      view.insert("webhooks", orderId, { orderId, partnerId, stopped: false });
    }
  });
  return [];
};

export const cancelPreparation: typeof real.cancelPreparation = async (trx, orderId) => {
  await statement(trx, (view) => {
    const told = view.locked<ToldRecord>("webhooks", orderId);
    if (told) view.update("webhooks", orderId, { ...told, stopped: true });
  });
};

export const enqueueInformation: typeof real.enqueueInformation = async () => undefined;
