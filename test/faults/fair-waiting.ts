/** One order that was paid while its partner could not be notified, for a reason of the platform. */
export interface UntoldOrder {
  orderId: string;
  /** The reason why its partner could not be notified. */
  fault: string;
  /** Words that name this reason. */
  cause: RegExp;
  /** Its moves before the return, except those that a person asked for. */
  movesUntold: string[];
  /** The highest amount that its partner was charged at any time, in minor units. */
  chargedMinor: number;
  /** The texts of the alerts that were raised about it before the return. */
  alerts: string[];
  /** The reason that the operator's diagnosis named before the return. */
  diagnosis: string;
  /** The cause of the diagnosis's first finding before the return, and the right one. */
  found: string;
  finding: string;
  /** The ids of the webhooks by which its partner was asked to prepare it, and that it accepted. */
  toldUnder: string[];
  backAtMs: number;
  /** When Orders received the notice about the partner; its time to accept counts from then. */
  notifiedAtMs: number | undefined;
  /** The partner's remaining time in the webhook, when it was notified. */
  timeLeftMs: number | undefined;
  status: string;
  /** The expected status at that time. */
  wanted: string;
}

const ACCEPTANCE_MS = 10 * 60_000;
/** From the start of a try until it arrives. */
const TRY_MS = 30_000;

/** Finds deadlines that ran before their party was notified. @returns one line for each violation */
export function unfair(orders: readonly UntoldOrder[]): string[] {
  return orders.flatMap((order) => problemsOf(order).map((problem) => `${order.fault}: ${problem}`));
}

function problemsOf(order: UntoldOrder): string[] {
  const { orderId, cause, notifiedAtMs, timeLeftMs } = order;
  const problems: string[] = [];
  for (const move of order.movesUntold) {
    problems.push(`order ${orderId} became ${move} although its partner was not told`);
  }
  if (order.chargedMinor > 0) {
    problems.push(`the partner bears ${order.chargedMinor} of order ${orderId}, of which it was not told`);
  }
  if (order.alerts.length === 0) problems.push(`no alert was raised about order ${orderId}`);
  else if (!order.alerts.some((text) => cause.test(text))) {
    problems.push(`no alert about order ${orderId} names the cause: ${order.alerts[0]}`);
  }
  if (!cause.test(order.diagnosis)) {
    problems.push(`the diagnosis of order ${orderId} does not name the cause: ${order.diagnosis}`);
  }
  if (order.found !== order.finding) {
    problems.push(`the first finding about order ${orderId} is ${order.found} instead of ${order.finding}`);
  }
  if (order.status !== order.wanted) {
    problems.push(`order ${orderId} is ${order.status} instead of ${order.wanted}`);
  }
  // No partner is notified of an order that its customer has cancelled meanwhile.
  if (order.wanted === "cancelled") return problems;
  if (new Set(order.toldUnder).size !== 1) {
    problems.push(`order ${orderId} was told to its partner under ${new Set(order.toldUnder).size} ids`);
  }
  // Of an order that was accepted at once the report comes too late to be noted.
  if (notifiedAtMs === undefined && order.status === "paid") {
    problems.push(`the time to accept order ${orderId} never began`);
  }
  if (notifiedAtMs !== undefined && notifiedAtMs < order.backAtMs) {
    problems.push(`the time to accept order ${orderId} began before its partner could be told`);
  }
  if (timeLeftMs === undefined || timeLeftMs < ACCEPTANCE_MS - TRY_MS) {
    problems.push(`the partner of order ${orderId} was told with ${timeLeftMs} ms left to accept it`);
  }
  return problems;
}
