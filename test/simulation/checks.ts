import type { Message, MessageData } from "../../contracts/messages.ts";
import type { Order } from "../../services/orders/domain/order-model.ts";
import type { World } from "./engine.ts";
import type { InboxRecord } from "./stores/inbox.ts";
import type { OrderRecord, TransitionRecord } from "./stores/orders.ts";
import type { OutboxRecord } from "./stores/outbox.ts";
import type { OfferRecord, ReservedLine } from "./stores/reservations.ts";
import type { Change } from "./view.ts";

/** The table of the product's specification, written down a second time: the code's own is under test. */
export const LEGAL: Readonly<Record<string, readonly string[]>> = {
  pending: ["paid", "cancelled", "expired"],
  paid: ["preparing", "ready", "cancelled"],
  preparing: ["ready", "cancelled"],
  ready: ["delivering", "cancelled"],
  delivering: ["delivered", "ready", "failed"],
  failed: ["ready", "cancelled"],
};
/** The setting of the partner in shop.ts. */
const ACCEPTANCE_MS = 4 * 60_000;
export const FINAL = ["delivered", "cancelled", "expired"];

type Version = Pick<Order, "version" | "status"> & { delivererId?: string };

/** Invariants after every commit. Those of the final state are in rest.ts. */
export class Checks {
  readonly #world: World;
  /** The order that is offered to each courier. */
  readonly #offeredOrders = new Map<string, string>();
  /** Every committed version of every order. */
  readonly history = new Map<string, Version[]>();
  readonly effects = new Map<string, number>();
  readonly #pieces = new Map<string, number>();
  /** Orders whose partner was notified, or could have been. */
  readonly #notified = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  /** The pieces of a product that there are, on sale and taken together. */
  stocked(productId: string, pieces: number): void {
    this.#pieces.set(productId, pieces);
  }

  committed(kind: string, changes: readonly Change[]): void {
    const touched = new Set<string>();
    for (const { table, key, before, after } of changes) {
      const where = `${kind}.${table}`;
      if (where === "orders.orders")
        this.#order(
          before as OrderRecord | undefined,
          after as unknown as OrderRecord,
          stepsIn(changes, key),
        );
      if (where === "orders.refunds" && before) this.#refund(key, before, after);
      if (where === "partners.outbox" && !before) this.#notice((after as unknown as OutboxRecord).message);
      if (table === "effects") this.#effect(after as { group: string; messageId: string });
      if (table === "inbox")
        this.#inbox(key, before as InboxRecord | undefined, after as unknown as InboxRecord);
      if (where === "partners.availability") touched.add((after as unknown as OfferRecord).productId);
      if (where === "partners.stock_reservation_lines") {
        touched.add((after as unknown as ReservedLine).productId);
        this.#line(before as ReservedLine | undefined, after as unknown as ReservedLine);
      }
    }
    for (const productId of touched) this.#stock(productId, changes);
  }

  /** @param steps the types of the moves in the commit */
  #order(before: OrderRecord | undefined, after: OrderRecord, steps: readonly string[]): void {
    const name = `order ${after.id}`;
    const { version, status, delivererId } = after;
    const known = this.history.get(after.id) ?? [];
    this.history.set(after.id, known);
    if (before?.version === version && before.status === status) return; // its checkout or its deadline alone
    known.push({ version, status, ...(delivererId && { delivererId }) });
    this.#world.say(`${name} is ${status}, version ${version}`);
    this.#acceptance(before, after);
    this.#offer(before, after, steps);
    // One commit may make two moves (an operator's reassignment); each is in the history.
    if (before && version <= before.version)
      this.#world.violated(`${name}: version ${before.version} to ${version}`);
    if (!before && (version !== 1 || status !== "pending")) {
      this.#world.violated(`${name} begins as ${status}, version ${version}`);
    }
    if (before && before.status !== status && !reaches(before.status, status, version - before.version)) {
      this.#world.violated(`${name}: ${before.status} to ${status}`);
    }
    if (before && FINAL.includes(before.status) && status !== before.status) {
      this.#world.violated(`${name} was over`);
    }
    const { paidMinor, refundedMinor, refundPendingMinor } = after;
    if (refundedMinor + refundPendingMinor > paidMinor || Math.min(refundedMinor, refundPendingMinor) < 0) {
      this.#world.violated(`${name}: of ${paidMinor} went ${refundedMinor} back, ${refundPendingMinor} go`);
    }
    const kitchen = ["paid", "preparing", "ready", "delivering", "delivered"].includes(status);
    if (kitchen && paidMinor < after.totalMinor) this.#world.violated(`${name} is ${status} and not paid`);
    if (["delivering", "delivered"].includes(status) && !delivererId) {
      const byHand = status === "delivered";
      if (!byHand) this.#world.violated(`${name} is ${status} by nobody`);
    }
    if (before?.status === "delivering" && status === "delivering" && before.delivererId !== delivererId) {
      // Only an operator takes an order from one to give it to another, which is two moves.
      if (version - before.version < 2) this.#world.violated(`${name} went from courier to courier`);
    }
    if (FINAL.includes(status) === (after.deadlineAt !== undefined)) {
      this.#world.violated(`${name} is ${status} with deadline ${after.deadlineAt}`);
    }
  }

  #notice({ type, subject, data }: Message): void {
    if (type !== "partner.notified") return;
    if ((data as MessageData<"partner.notified">).outcome !== "held_up") this.#notified.add(subject);
  }

  /**
   * A courier has one offer at a time, only ready orders are offered, and no courier gets one order twice. During the time of
   * an offer only its courier takes the order, or an operator gives it away; it ends early only if the courier declines.
   */
  #offer(before: OrderRecord | undefined, after: OrderRecord, steps: readonly string[]): void {
    const { id, status, offeredTo, offersTried = [] } = after;
    const isReady = before?.status === "ready" && status === "ready";
    const lasts = Date.parse(before?.offerUntil ?? "") > Date.parse(after.updatedAt);
    if (isReady && before.offeredTo && before.offeredTo !== offeredTo) {
      if (lasts && !steps.includes("order.offer_declined"))
        this.#world.violated(`the offer of order ${id} to ${before.offeredTo} ended before its time`);
    }
    if (before?.status === "ready" && before.offeredTo && status === "delivering" && lasts) {
      const { delivererId, lastActor } = after;
      if (delivererId !== before.offeredTo && lastActor === delivererId)
        this.#world.violated(`${delivererId} took order ${id}, which was offered to ${before.offeredTo}`);
    }
    // In the pool they may take it.
    const tried = isReady && !after.pooledAt ? (before.offersTried ?? []) : [];
    if (tried.some((courierId, place) => offersTried[place] !== courierId))
      this.#world.violated(`order ${id} has lost the couriers who were offered it`);
    if (before?.offeredTo && before.offeredTo !== offeredTo) this.#offeredOrders.delete(before.offeredTo);
    if (new Set(offersTried).size !== offersTried.length)
      this.#world.violated(`order ${id} was offered twice`);
    if (!offeredTo) return;
    const other = this.#offeredOrders.get(offeredTo);
    if (other && other !== id) this.#world.violated(`${offeredTo} has the offers of ${other} and ${id}`);
    if (status !== "ready") this.#world.violated(`order ${id} is offered and ${status}`);
    this.#offeredOrders.set(offeredTo, id);
  }

  /** A deadline may end a paid order only after its partner was notified and had its time. */
  #acceptance(before: OrderRecord | undefined, after: OrderRecord): void {
    if (before?.status !== "paid" || after.status !== "cancelled" || after.lastActor !== "deadline") return;
    const hadMs = Date.parse(after.updatedAt) - Date.parse(after.partnerNotifiedAt ?? after.updatedAt);
    if (this.#notified.has(after.id) && hadMs >= ACCEPTANCE_MS) return;
    this.#world.violated(`order ${after.id} was cancelled, and its partner had ${hadMs} ms to accept it`);
  }

  #refund(id: string, before: object, after: object | undefined): void {
    const was = before as { state?: string };
    const is = (after ?? {}) as { state?: string };
    const bounced = was.state === "completed" && is.state === "failed";
    const over = (was.state === "completed" || was.state === "failed") && !bounced;
    if (over && is.state !== was.state) this.#world.violated(`refund ${id}: ${was.state} to ${is.state}`);
  }

  #effect({ group, messageId }: { group: string; messageId: string }): void {
    // The planted inbox keeps a known message under another key; it is the same message.
    const key = `${group} ${messageId.split("/")[0]}`;
    const times = (this.effects.get(key) ?? 0) + 1;
    this.effects.set(key, times);
    if (times > 1) this.#world.violated(`${key}: ${times} effects`);
  }

  #inbox(key: string, before: InboxRecord | undefined, after: InboxRecord): void {
    const over = before?.state === "done" || before?.state === "dead";
    if (over && after.state !== before.state)
      this.#world.violated(`${key}: ${before.state} to ${after.state}`);
  }

  readonly #offers = new Map<string, number>();
  readonly #taken = new Map<string, number>();

  #line(before: ReservedLine | undefined, after: ReservedLine): void {
    const taken = (this.#taken.get(after.productId) ?? 0) - (before?.taken ?? 0) + after.taken;
    this.#taken.set(after.productId, taken);
  }

  #stock(productId: string, changes: readonly Change[]): void {
    for (const { table, after } of changes) {
      const offer = after as unknown as OfferRecord;
      if (table !== "availability" || offer.productId !== productId) continue;
      if (offer.stock !== undefined) this.#offers.set(productId, offer.stock);
    }
    const pieces = this.#pieces.get(productId);
    const left = this.#offers.get(productId);
    if (pieces === undefined || left === undefined) return;
    const taken = this.#taken.get(productId) ?? 0;
    if (left < 0) this.#world.violated(`product ${productId}: ${left} pieces on sale`);
    if (left + taken !== pieces) {
      this.#world.violated(`product ${productId}: ${left} on sale and ${taken} taken of ${pieces}`);
    }
  }
}

/** Whether a state can follow another one within so many moves. */
function reaches(from: string, to: string, moves: number): boolean {
  if (moves <= 0) return false;
  const next = LEGAL[from] ?? [];
  return next.includes(to) || next.some((between) => reaches(between, to, Math.min(moves, 3) - 1));
}

/** The types of an order's moves in one commit. */
function stepsIn(changes: readonly Change[], orderId: string): string[] {
  return changes.flatMap(({ table, after }) => {
    const line = after as unknown as TransitionRecord | undefined;
    return table === "order_transitions" && line?.orderId === orderId ? [line.type] : [];
  });
}
