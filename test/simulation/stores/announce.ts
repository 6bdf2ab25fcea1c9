import type * as real from "../../../services/partners/webhooks/announce.ts";
import { statement } from "../memory.ts";

/** What the partner's system is told, as the queue of its webhooks would hold it. */
export interface ToldRecord {
  orderId: string;
  partnerId: string;
  stopped: boolean;
}

export const announceOrder: typeof real.announceOrder = async (trx, { data: { orderId, partnerId } }) => {
  await statement(trx, (view) => view.insert("webhooks", orderId, { orderId, partnerId, stopped: false }));
};

export const callOff: typeof real.callOff = async (trx, orderId) => {
  await statement(trx, (view) => {
    const told = view.locked<ToldRecord>("webhooks", orderId);
    if (told) view.update("webhooks", orderId, { ...told, stopped: true });
  });
};

export const inform: typeof real.inform = async () => undefined;
