import type { OrderSnapshot } from "../../../contracts/messages.ts";
import { ACCEPTANCE_MINUTES_DEFAULT } from "../../../contracts/order-status.ts";

const MINUTE_MS = 60_000;

/**
 * The end of the partner's time to accept an order. The message of the payment does not contain it, because it begins
 * with the notice to the partner, at about the same time. After an outage that has lasted longer than the partner's time,
 * it has only begun now.
 * @param paidAtMs the time of the message `order.paid`
 */
export function acceptUntilMs(
  { acceptanceMinutes = ACCEPTANCE_MINUTES_DEFAULT }: Pick<OrderSnapshot, "acceptanceMinutes">,
  paidAtMs: number,
  nowMs: number,
): number {
  const acceptanceMs = acceptanceMinutes * MINUTE_MS;
  return paidAtMs + acceptanceMs > nowMs ? paidAtMs + acceptanceMs : nowMs + acceptanceMs;
}

/** The time of the next reminder: half-way from now to the end. The first goes to the staff, the second to operators. */
export function halfWayMs(nowMs: number, untilMs: number): number {
  return nowMs + Math.max(0, untilMs - nowMs) / 2;
}

/** The whole minutes that are left, at least one. */
export function minutesLeft(nowMs: number, untilMs: number): number {
  return Math.max(1, Math.ceil((untilMs - nowMs) / MINUTE_MS));
}
