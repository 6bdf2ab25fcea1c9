import { createHash } from "node:crypto";
import type { Caller } from "../../contracts/meta.ts";
import type { Quote } from "../../contracts/partners.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { euro } from "./bank.ts";
import { type Cluster, HANDOVER } from "./cluster.ts";
import type { World } from "./engine.ts";
import type { Request } from "./network.ts";
import { openShop, quoteOf } from "./shop.ts";
import type { ToldRecord } from "./stores/announce.ts";
import type { OrderRecord } from "./stores/orders.ts";

const CALL_TIMEOUT_MS = 2_000;
const COURIERS = 3;

/** The people and programs outside: they know the platform's actions only, and repeat what was not answered. */
export class Outside {
  readonly #cluster: Cluster;
  readonly #world: World;
  readonly #partnerId = newId();
  readonly #couriers = Array.from({ length: COURIERS }, () => newId());
  readonly #admin: Caller = { id: newId(), role: "admin", sessionId: "s" };
  readonly #working = new Set<string>();
  /** The acts of outsiders so far. */
  acts = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    openShop(cluster, this.#partnerId);
    for (const id of this.#couriers) cluster.servers.orders.table("couriers").set(id, { id });
  }

  /** Runs random external actions until the faults end. */
  live(): void {
    const { random } = this.#world;
    this.#every(
      () => random.between(20, 2_500),
      () => {
        // Sometimes several at once want the same last pieces.
        for (let n = random.pick([1, 1, 1, 4]); n > 0; n -= 1) this.#order();
      },
    );
    this.#every(
      () => random.between(50, 1_500),
      () => this.#partnerLooks(),
    );
    this.#every(
      () => random.between(50, 1_500),
      () => this.#couriersLook(),
    );
    this.#every(
      () => random.between(1_000, 20_000),
      () => this.#operate(),
    );
  }

  /** The bank reports its events until the platform has accepted them. */
  report(event: unknown): void {
    const body = JSON.stringify(event);
    const params = { bankId: this.#cluster.bank.id, headers: {}, body };
    this.#later([0, 20_000], () => this.#insist("orders.receivePayment", { params }));
    if (this.#world.trouble(0.15)) {
      this.#later([0, 60_000], () => this.#insist("orders.receivePayment", { params }));
    }
  }

  #every(delay: () => number, act: () => void): void {
    const next = () =>
      this.#world.at(delay(), () => {
        if (!this.#world.troubled) return;
        act();
        next();
      });
    next();
  }

  #later([least, most]: readonly [number, number], work: () => Promise<unknown>): void {
    this.#cluster.unanswered += 1;
    this.#world.at(this.#world.random.between(least, most), () => {
      work()
        .catch((error) => this.#world.say(`refused: ${(error as { type?: string }).type}`))
        .finally(() => {
          this.#cluster.unanswered -= 1;
        });
    });
  }

  /** Calls again until there is a definite answer. @throws a refusal */
  async #insist(name: string, request: Request): Promise<unknown> {
    this.acts += 1;
    for (;;) {
      try {
        return await this.#cluster.network.call(name, request, CALL_TIMEOUT_MS);
      } catch (error) {
        const { code, type, message } = error as { code?: unknown; type?: string; message?: string };
        const trouble = typeof code === "string" && /^E(?:CONN|PIPE)|^55P03$|^40P01$/.test(code);
        const again =
          trouble || (typeof code === "number" && code >= 500) || type === "IDEMPOTENCY_IN_FLIGHT";
        if (!again && (typeof code !== "number" || type === undefined)) {
          this.#world.violated(`${name} fails with ${message}`);
        }
        if (type === "EVENT_MISMATCH" || type === "IDEMPOTENCY_MISMATCH")
          this.#world.violated(`${name}: ${type}`);
        if (!again && type !== "ORDER_CHANGED") throw error;
      }
      await this.#world.pause(this.#world.random.between(50, 5_000));
    }
  }

  #order(): void {
    const { random } = this.#world;
    const caller: Caller = { id: newId(), role: "customer", sessionId: "s" };
    const quote = quoteOf(this.#cluster, this.#partnerId);
    const params = { bankId: this.#cluster.bank.id, quote, customer: { id: caller.id, name: "Ada Byron" } };
    const bodyHash = createHash("sha256").update(quote.checkId).digest("hex");
    const request = { params, caller, idempotency: { key: newId(), bodyHash } };
    const again = random.chance(0.3);
    this.#later([0, 0], async () => {
      const answer = JSON.stringify(await this.#insist("orders.confirm", request));
      this.#pays(quote);
      if (random.chance(0.2)) this.#cancels(quote.checkId, caller);
      if (!again) return;
      const repeated = JSON.stringify(await this.#insist("orders.confirm", request));
      if (repeated !== answer) this.#world.violated(`confirm answers ${answer}, then ${repeated}`);
    });
    // In another tab, with another key: still one order for one check.
    if (random.chance(0.15)) {
      const other = { ...request, idempotency: { key: newId(), bodyHash } };
      this.#later([0, 3_000], () => this.#insist("orders.confirm", other));
    }
  }

  #pays({ checkId: orderId, total }: Quote): void {
    const { random } = this.#world;
    const all = total.amountMinor;
    const amounts = random.pick([
      [all],
      [all],
      [all],
      [all],
      [all - 100, 100],
      [all + 250],
      [all, all],
      [200],
      [],
    ]);
    for (const amountMinor of amounts) {
      const late = random.chance(0.05);
      this.#later(late ? [60_000, 200_000] : [0, 8_000], async () =>
        this.#cluster.bank.pay(orderId, amountMinor),
      );
    }
  }

  #cancels(orderId: string, caller: Caller): void {
    this.#later([0, 15_000], () =>
      this.#insist("orders.cancel", { params: { orderId, reason: "changed my mind" }, caller }),
    );
  }

  #partnerLooks(): void {
    const { random } = this.#world;
    const told = this.#cluster.servers.partners
      .all<ToldRecord>("webhooks")
      .filter(({ orderId, stopped }) => !stopped && !this.#working.has(orderId));
    if (told.length === 0) return;
    const { orderId } = random.pick(told);
    this.#working.add(orderId);
    if (random.chance(0.04)) return; // it never answers
    const says = (type: string, within: readonly [number, number]) => {
      const readyAt = isoTime(this.#cluster.servers.orders.nowMs() + random.between(600_000, 1_200_000));
      const said = { partnerId: this.#partnerId, eventId: newId(), bodyHash: "a".repeat(64), type, orderId };
      const params = type === "order.ready" ? said : { ...said, readyAt };
      this.#later(within, () => this.#insist("orders.applyPartnerCallback", { params }));
      if (random.chance(0.2)) {
        this.#later(within, () => this.#insist("orders.applyPartnerCallback", { params }));
      }
    };
    if (random.chance(0.15)) this.#staffActs(orderId);
    if (random.chance(0.12)) {
      says("order.rejected", [0, 3_000]);
      return;
    }
    if (random.chance(0.85)) says("order.accepted", [0, 3_000]);
    if (random.chance(0.15)) says("order.delayed", [0, 4_000]);
    if (random.chance(0.05)) says("order.rejected", [0, 6_000]);
    if (random.chance(0.95)) says("order.ready", [1_000, 8_000]);
  }

  /** Staff of the partner act by hand, beside its system. */
  #staffActs(orderId: string): void {
    const { random } = this.#world;
    const caller: Caller = { id: newId(), role: "partner", sessionId: "s", partnerId: this.#partnerId };
    const [name, params] = random.pick([
      ["orders.accept", { readyInMinutes: 15 }],
      ["orders.makeReady", {}],
      ["orders.reject", { reason: "too_busy" }],
    ] as const);
    this.#later([0, 4_000], () => this.#insist(name, { params: { orderId, ...params }, caller }));
  }

  #couriersLook(): void {
    const { random } = this.#world;
    const orders = this.#cluster.servers.orders.all<OrderRecord>("orders");
    const ready = orders.filter(({ status }) => status === "ready");
    // With offers, couriers see an order when it is offered or in the pool.
    const seen = this.#cluster.offersOrders
      ? ready.filter(({ offeredTo, pooledAt }) => offeredTo !== undefined || pooledAt !== undefined)
      : ready;
    if (seen.length > 0) {
      const { id } = random.pick(seen);
      for (const courier of this.#couriers) this.#later([0, 50], () => this.#assigns(id, courier));
    }
    const [offered] = ready.filter(({ offeredTo }) => offeredTo !== undefined);
    if (offered && random.chance(0.4)) {
      const caller: Caller = { id: offered.offeredTo as string, role: "deliverer", sessionId: "s" };
      const params = { orderId: offered.id };
      this.#later([0, 2_000], () => this.#insist("orders.decline", { params, caller }));
    }
    const carried = orders.filter(({ status }) => status === "delivering");
    if (carried.length === 0) return;
    const { id: orderId, delivererId: id = "" } = random.pick(carried);
    const caller: Caller = { id, role: "deliverer", sessionId: "s" };
    const act = random.next();
    const pin = act < 0.2 ? "0000" : HANDOVER.pinOf(orderId);
    if (act < 0.7) {
      this.#later([0, 2_000], () => this.#insist("orders.deliver", { params: { orderId, pin }, caller }));
    }
    if (random.chance(0.3)) {
      const code = random.chance(0.1) ? "A1-000" : HANDOVER.pickupCodeOf(orderId);
      this.#later([0, 2_000], () => this.#insist("orders.pickUp", { params: { orderId, code }, caller }));
    }
    const reason = "nobody there";
    if (act > 0.6 && act < 0.75) {
      this.#later([0, 2_000], () => this.#insist("orders.release", { params: { orderId, reason }, caller }));
    }
    if (act > 0.7 && act < 0.85) {
      this.#later([0, 2_000], () => this.#insist("orders.fail", { params: { orderId, reason }, caller }));
    }
  }

  async #assigns(orderId: string, id: string): Promise<void> {
    const caller: Caller = { id, role: "deliverer", sessionId: "s" };
    const answer = await this.#insist("orders.assign", { params: { orderId }, caller });
    const { version } = answer as { version: number };
    const then = this.#cluster.checks.history.get(orderId)?.find((one) => one.version === version);
    if (then?.delivererId !== id) {
      this.#world.violated(`order ${orderId}: ${id} was told it is his, at version ${version} it was not`);
    }
  }

  #operate(): void {
    const { random } = this.#world;
    const orders = this.#cluster.servers.orders.all<OrderRecord>("orders");
    if (orders.length === 0) return;
    const { id: orderId } = random.pick(orders);
    const [name, params] = random.pick([
      ["orders.cancel", { reason: "operator" }],
      ["orders.refund", { amount: euro(random.between(1, 900)), reason: "goodwill" }],
      ["orders.refund", { reason: "goodwill" }],
      ["orders.reassign", { reason: "operator", delivererId: random.pick(this.#couriers) }],
      ["orders.reassign", { reason: "operator" }],
      ["orders.override", { to: "ready", reason: "operator" }],
      ["orders.override", { to: "delivered", reason: "operator" }],
    ] as const);
    const idempotency = { key: newId(), bodyHash: "b".repeat(64) };
    const request = { params: { orderId, ...params }, caller: this.#admin, idempotency };
    this.#later([0, 0], () => this.#insist(name, request));
  }
}
