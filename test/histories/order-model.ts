import type { Operation } from "./history.ts";
import type { Model } from "./linearizable.ts";

/*
 * The order as its clients are promised it, written from the product's description and not from its code: one
 * order, one operation at a time.
 */

export type OrderInput =
  | { do: "confirm" }
  | { do: "pay"; paymentId: string; amountMinor: number }
  | { do: "accept" | "ready" | "reject" }
  | { do: "cancel"; by: "customer" | "admin" }
  | { do: "assign" | "release" | "fail"; by: string }
  | { do: "pickup"; by: string; rightCode: boolean }
  | { do: "deliver"; by: string; rightPin: boolean }
  | { do: "refund"; amountMinor?: number }
  | { do: "edit" }
  | { do: "read" }
  /** Its deadline is put into the past: it may pass at any moment from now on. */
  | { do: "overdue" };

interface Paid {
  readonly paymentId: string;
  readonly amountMinor: number;
  readonly backMinor: number;
}

export interface OrderState {
  readonly status: string;
  readonly version: number;
  readonly totalMinor: number;
  readonly payments: readonly Paid[];
  /** Refunds on their way, each of which ends by itself. */
  readonly openMinor: readonly number[];
  readonly refundedMinor: number;
  readonly courier?: string | undefined;
  readonly wrongPins: number;
  readonly pickedUp?: boolean | undefined;
  /** By which a repeat is known. */
  readonly lastMove?: string;
  readonly lastActor?: string;
  readonly overdue: boolean;
}

const WRONG_PINS_MAX = 5;
const CANCELLABLE = {
  customer: ["pending", "paid"],
  admin: ["pending", "paid", "preparing", "ready", "failed"],
};

const sum = (amounts: readonly number[]) => amounts.reduce((all, one) => all + one, 0);
const received = ({ payments }: OrderState) => sum(payments.map(({ amountMinor }) => amountMinor));
const kept = (state: OrderState) => received(state) - sum(state.payments.map(({ backMinor }) => backMinor));

interface Step {
  state: OrderState;
  refused?: string;
}
const same = (state: OrderState): Step => ({ state });
const refused = (state: OrderState, type: string): Step => ({ state, refused: type });

function moved(
  state: OrderState,
  status: string,
  name: string,
  actor: string,
  more: Partial<OrderState> = {},
): Step {
  const { version } = state;
  const next = { ...state, status, version: version + 1, lastMove: name, lastActor: actor, overdue: false };
  return { state: { ...next, ...more } };
}

/** Money goes back, out of the newest payments first; each payment's share is a refund of its own. */
function back(state: OrderState, amountMinor: number): OrderState {
  let left = amountMinor;
  const open: number[] = [...state.openMinor];
  const payments = state.payments
    .toReversed()
    .map((payment) => {
      const share = Math.min(left, payment.amountMinor - payment.backMinor);
      if (share === 0) return payment;
      left -= share;
      open.push(share);
      return { ...payment, backMinor: payment.backMinor + share };
    })
    .toReversed();
  return { ...state, payments, openMinor: open.sort((a, b) => a - b) };
}

function ended(state: OrderState, status: string, name: string, actor: string): Step {
  const { state: over } = moved(state, status, name, actor);
  return { state: back(over, kept(over)) };
}

function pay(state: OrderState, paymentId: string, amountMinor: number): Step {
  if (state.payments.some((known) => known.paymentId === paymentId)) return same(state);
  const richer = { ...state, payments: [...state.payments, { paymentId, amountMinor, backMinor: 0 }] };
  if (state.status !== "pending") return same(back({ ...richer, version: state.version + 1 }, amountMinor));
  const tooMuch = kept(richer) - state.totalMinor;
  if (tooMuch < 0) return same({ ...richer, version: state.version + 1 });
  return same(back(moved(richer, "paid", "pay", "bank").state, tooMuch));
}

function partner(state: OrderState, says: "accept" | "ready" | "reject"): Step {
  const { status } = state;
  const past = { accept: ["preparing"], ready: [], reject: [] }[says] as string[];
  if (says !== "reject" && [...past, "ready", "delivering", "delivered", "failed"].includes(status)) {
    return same(state);
  }
  if (says === "reject" && status === "cancelled") return same(state);
  if (status !== "paid" && (status !== "preparing" || says === "accept"))
    return refused(state, "ILLEGAL_TRANSITION");
  if (says === "reject") return ended(state, "cancelled", "reject", "partner");
  return moved(state, says === "accept" ? "preparing" : "ready", says, "partner");
}

function courier(state: OrderState, input: OrderInput & { by: string }): Step {
  const { status } = state;
  const { by } = input;
  const repeated = state.lastMove === input.do && state.lastActor === by;
  if (input.do === "assign") {
    if (status === "delivering" && state.courier === by) return same(state);
    if (status === "delivering" || status === "delivered") return refused(state, "ALREADY_ASSIGNED");
    if (status !== "ready") return refused(state, "NOT_FOUND");
    // A deliverer could not hand it over: only an operator can reset the PIN attempts.
    if (state.wrongPins >= WRONG_PINS_MAX) return refused(state, "HANDOVER_LOCKED");
    return moved(state, "delivering", "assign", by, { courier: by, pickedUp: undefined });
  }
  if (input.do === "release") {
    // The pool is open to all of them, and another courier's order to none.
    if (state.courier !== by && status !== "ready") return refused(state, "NOT_FOUND");
    if (repeated) return same(state);
    if (status !== "delivering") return refused(state, "ILLEGAL_TRANSITION");
    return moved(state, "ready", "release", by, { courier: undefined, pickedUp: undefined });
  }
  if (state.courier !== by) return refused(state, "NOT_FOUND");
  if (input.do === "fail") {
    if (repeated) return same(state);
    return status === "delivering"
      ? moved(state, "failed", "fail", by)
      : refused(state, "ILLEGAL_TRANSITION");
  }
  if (input.do === "pickup") {
    if (status !== "delivering") return refused(state, "ILLEGAL_TRANSITION");
    if (!input.rightCode) return refused(state, "WRONG_PICKUP_CODE");
    return state.pickedUp
      ? same(state)
      : moved(state, "delivering", "pickup", by, { pickedUp: true, overdue: state.overdue });
  }
  const rightPin = input.do === "deliver" && input.rightPin;
  if (rightPin && repeated) return same(state);
  if (status !== "delivering") return refused(state, "ILLEGAL_TRANSITION");
  if (state.wrongPins >= WRONG_PINS_MAX) return refused(state, "HANDOVER_LOCKED");
  if (rightPin) return moved(state, "delivered", "deliver", by);
  const wrongPins = state.wrongPins + 1;
  const type = wrongPins < WRONG_PINS_MAX ? "WRONG_PIN" : "HANDOVER_LOCKED";
  return refused({ ...state, wrongPins, version: state.version + 1 }, type);
}

function step(state: OrderState, input: OrderInput): Step {
  const { status, version } = state;
  switch (input.do) {
    case "confirm":
    case "read":
      return same(state);
    case "pay":
      return pay(state, input.paymentId, input.amountMinor);
    case "accept":
    case "ready":
    case "reject":
      return partner(state, input.do);
    case "cancel":
      if (status === "cancelled") return same(state);
      if (!CANCELLABLE[input.by].includes(status)) return refused(state, "ORDER_NOT_CANCELLABLE");
      return ended(state, "cancelled", "cancel", input.by);
    case "assign":
    case "release":
    case "fail":
    case "pickup":
    case "deliver":
      return courier(state, input);
    case "refund": {
      if (status === "pending") return refused(state, "ILLEGAL_TRANSITION");
      const amountMinor = input.amountMinor ?? kept(state);
      if (amountMinor === 0 || amountMinor > kept(state)) return refused(state, "VALIDATION_ERROR");
      return same(back({ ...state, version: version + 1 }, amountMinor));
    }
    case "edit":
      if (status !== "pending") return refused(state, "ILLEGAL_TRANSITION");
      return same({ ...state, version: version + 1 });
    case "overdue":
      return same({ ...state, overdue: true });
  }
}

function paymentStatus(state: OrderState): string {
  if (received(state) === 0) return "unpaid";
  if (kept(state) >= state.totalMinor) return "paid";
  if (state.openMinor.length > 0) return "refund_pending";
  if (state.refundedMinor === 0) return "partially_paid";
  return kept(state) === 0 ? "refunded" : "partially_refunded";
}

/** The common part of all views of the order. */
function viewOf(state: OrderState) {
  return {
    status: state.status,
    version: state.version,
    paymentStatus: paymentStatus(state),
    delivererId: state.courier,
    pickedUp: state.pickedUp ?? false,
    paid: received(state),
    refunded: state.refundedMinor,
  };
}

interface View {
  status?: string;
  version?: number;
  paymentStatus?: string;
  delivererId?: string;
  pickedUpAt?: string;
  paid?: { amountMinor: number };
  refunded?: { amountMinor: number };
}

function fits(state: OrderState, value: View): boolean {
  if (value.status === undefined) return true; // an answer that says nothing of the order
  const view = viewOf(state);
  if (value.version === undefined) return value.status === view.status;
  return (
    value.status === view.status &&
    value.version === view.version &&
    value.paymentStatus === view.paymentStatus &&
    value.delivererId === view.delivererId &&
    (value.pickedUpAt !== undefined) === view.pickedUp &&
    value.paid?.amountMinor === view.paid &&
    value.refunded?.amountMinor === view.refunded
  );
}

export function orderModel(totalMinor: number): Model<OrderState, OrderInput> {
  return {
    initial: {
      ...{ status: "pending", version: 1, totalMinor, payments: [], openMinor: [] },
      ...{ refundedMinor: 0, wrongPins: 0, overdue: false },
    },
    apply(state, { input, outcome }: Operation<OrderInput>) {
      const { state: next, refused: type } = step(state, input);
      if (outcome.kind === "unknown") return next;
      if (outcome.kind === "refusal") return type === outcome.type ? next : undefined;
      return type === undefined && fits(next, outcome.value as View) ? next : undefined;
    },
    internal(state) {
      const settled = [...new Set(state.openMinor)].map((amountMinor) => {
        const openMinor = [...state.openMinor];
        openMinor.splice(openMinor.indexOf(amountMinor), 1);
        const refundedMinor = state.refundedMinor + amountMinor;
        return { ...state, openMinor, refundedMinor, version: state.version + 1 };
      });
      return state.overdue ? [...settled, ...passed(state)] : settled;
    },
    key: (state) => JSON.stringify(state),
  };
}

/** The deadline passes: the order ends, or an alert is raised and it continues to wait. */
function passed(state: OrderState): OrderState[] {
  const { status, version } = state;
  if (status === "pending") return [ended(state, "expired", "expire", "deadline").state];
  if (status === "paid") return [ended(state, "cancelled", "cancel", "deadline").state];
  if (["delivered", "cancelled", "expired"].includes(status)) return [];
  return [{ ...state, version: version + 1, overdue: false }];
}
