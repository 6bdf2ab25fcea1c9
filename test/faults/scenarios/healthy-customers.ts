import { setTimeout as delay } from "node:timers/promises";
import { newId } from "../../../lib/ids.ts";
import { home, type Kitchen, signed } from "../../e2e/kitchen.ts";
import { paymentReport } from "../bank.ts";
import type { Run } from "../run.ts";
import type { Shot } from "./steady.ts";

/** Of so many requests two check, two confirm what was checked and two pay; the others read. */
const ROUND = 10;
const TOLD_WITHIN_MS = 3_000;
const POLL_MS = 50;

/** Customers who look, check, confirm what they checked, and whose bank reports that they paid. */
export async function healthyCustomers({ world, ledger }: Run) {
  const places = world.kitchens.slice(0, 2);
  const buyers = world.customers.slice(0, 2);
  const tokens = await Promise.all(buyers.map((one) => world.tokenOf(one)));
  const checked: { id: string; totalMinor: number; who: number; place: Kitchen }[] = [];
  const confirmed: { orderId: string; totalMinor: number }[] = [];
  const paidAtMs = new Map<string, number>();
  const told = new Map<string, number>();
  const goOn = world.heard;
  world.mood = () => 204;
  world.heard = (place, event) => {
    const { order_id: orderId } = event.data;
    const at = paidAtMs.get(orderId);
    if (event.type === "order.paid" && at !== undefined) told.set(orderId, performance.now() - at);
    goOn(place, event);
  };
  let count = 0;

  const check = (who: number, place: Kitchen): Shot => ({
    ...{ operation: "POST /orders/check", token: tokens[who] ?? "", wants: 200 },
    body: {
      partner_id: place.partnerId,
      lines: [{ product_id: place.products[0], quantity: 1 }],
      address: home,
    },
    heard(body) {
      const { check_id: id, total } = body as { check_id: string; total: { amount_minor: number } };
      checked.push({ id, totalMinor: total.amount_minor, who, place });
    },
  });
  const confirm = ({ id, totalMinor, who, place }: (typeof checked)[number]): Shot => ({
    ...{ operation: "POST /orders/confirm", token: tokens[who] ?? "", key: newId(), wants: 201 },
    body: { check_id: id, bank_id: world.bankId },
    heard(body) {
      const { order_id: orderId } = body as { order_id: string };
      const customerId = buyers[who]?.id ?? "";
      ledger.confirmed.set(orderId, { totalMinor, customerId, partnerId: place.partnerId, quantities: [1] });
      confirmed.push({ orderId, totalMinor });
    },
  });
  const pay = ({ orderId, totalMinor }: (typeof confirmed)[number]): Shot => {
    const eventId = newId();
    const { id: paymentId } = world.bank.pay(orderId, totalMinor);
    const seen = { paymentId, orderId, amountMinor: totalMinor, acknowledged: false };
    ledger.paymentEvents.set(eventId, seen);
    const body = paymentReport(seen);
    paidAtMs.set(orderId, performance.now());
    return {
      ...{ operation: `POST /webhooks/payments/${world.bankId}`, body, wants: 204 },
      headers: signed(world.webhookSecret, eventId, new Date(), body),
      heard() {
        seen.acknowledged = true;
      },
    };
  };
  const next = (): Shot => {
    const turn = count % ROUND;
    const who = count % buyers.length;
    const place = places[count % places.length] as Kitchen;
    count += 1;
    if (turn === 0 || turn === 5) return check(who, place);
    const toConfirm = turn === 2 || turn === 7 ? checked.shift() : undefined;
    if (toConfirm) return confirm(toConfirm);
    const toPay = turn === 4 || turn === 9 ? confirmed.shift() : undefined;
    if (toPay) return pay(toPay);
    const path = turn === 1 || turn === 6 ? "/products?limit=5" : "/orders?limit=5";
    return { operation: `GET ${path}`, token: tokens[who] ?? "", wants: 200 };
  };
  /**
   * The notice times of all payments since the last call. A partner that was not notified in time counts with the time
   * until now, and with the whole time if the customer could not pay.
   */
  const toldTimes = async () => {
    const untilMs = performance.now() + TOLD_WITHIN_MS;
    while (told.size < paidAtMs.size && performance.now() < untilMs) await delay(POLL_MS);
    const times = [...paidAtMs].map(([orderId, at]) => told.get(orderId) ?? performance.now() - at);
    paidAtMs.clear();
    told.clear();
    return times.length > 0 ? times : [TOLD_WITHIN_MS];
  };
  return { next, toldTimes };
}
