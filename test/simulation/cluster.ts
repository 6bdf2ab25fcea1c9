import type { ServiceSchema } from "moleculer";
import type { Params, Result } from "../../contracts/actions.ts";
import type { Message, MessageType } from "../../contracts/messages.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { deliveryTokens } from "../../lib/delivery-tokens.ts";
import { newId } from "../../lib/ids.ts";
import { keyedLimit } from "../../lib/keyed-limit.ts";
import type { Db } from "../../lib/sql/database.ts";
import { consumer } from "../../mixins/consumer/consumer.mixin.ts";
import type { Handler, Handlers } from "../../mixins/consumer/handlers.ts";
import { outbox } from "../../mixins/outbox/outbox.mixin.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { timer } from "../../mixins/timer/timer.mixin.ts";
import * as byHand from "../../services/orders/actions/by-hand.ts";
import { checkoutGate } from "../../services/orders/actions/checkout-gate.ts";
import * as changing from "../../services/orders/actions/commands.ts";
import { confirmOrder } from "../../services/orders/actions/confirm.ts";
import * as deliveries from "../../services/orders/actions/deliveries.ts";
import { applyPartnerCallback } from "../../services/orders/actions/partner-callback.ts";
import { receivePayment } from "../../services/orders/actions/payment-callback.ts";
import type { OrdersDependencies } from "../../services/orders/dependencies.ts";
import { applyDeadlines } from "../../services/orders/workers/deadlines.ts";
import { makeOffers } from "../../services/orders/workers/offers.ts";
import { noticeHandlers } from "../../services/orders/workers/partner-notice-events.ts";
import { reconcilePayments, reconciliationCounts } from "../../services/orders/workers/reconciliation.ts";
import { processRefunds } from "../../services/orders/workers/refunds.ts";
import { reserve } from "../../services/partners/actions/reservations.ts";
import type { OrderState } from "../../services/partners/dependencies.ts";
import { orderHandlers } from "../../services/partners/workers/order-events.ts";
import { SWEEP_GRACE_MS, sweepReservations } from "../../services/partners/workers/reservations.ts";
import { SimulatedBank } from "./bank.ts";
import { Checks } from "./checks.ts";
import { Machine, type World } from "./engine.ts";
import { Server, statement } from "./memory.ts";
import { Network } from "./network.ts";
import { firstTries } from "./stores/announce.ts";
import { stateIn } from "./stores/orders.ts";
import { Stream } from "./stream.ts";

const SWEEP_MS = 10_000;
const JOBS_MS = 20_000;
const TRIES_MS = 2_000;
const ORDERS_TIMEOUT_MS = 700;
/** The key of the customer's PINs. */
export const HANDOVER = deliveryTokens("handover-secret-of-the-simulation-01");

const CREATED_TO_ENDED = [
  ...["order.created", "order.paid", "order.accepted", "order.rejected", "order.ready", "order.delayed"],
  ...[
    "order.assigned",
    "order.released",
    "order.delivered",
    "order.failed",
    "order.cancelled",
    "order.expired",
  ],
] as readonly (MessageType & `order.${string}`)[];
const GROUPS = {
  orders: [...CREATED_TO_ENDED, "payment.received", "refund.completed", "partner.notified"] as MessageType[],
  partners: [
    ...["order.created", "order.paid", "order.cancelled", "order.rejected", "order.expired"],
    ...["order.assigned", "order.released", "order.delivered", "order.failed"],
  ] as MessageType[],
  notifications: CREATED_TO_ENDED as MessageType[],
};
export type Kind = keyof typeof GROUPS;
export const KINDS = Object.keys(GROUPS) as Kind[];

/** An order whose messages no handler can process, by its note. */
export const POISON = {
  throws: "a message that throws",
  kills: "a message that kills",
  partners: "a message that Partners cannot take",
} as const;

/** The product on machines that die, with what is around it. */
export class Cluster {
  readonly world: World;
  readonly network: Network;
  readonly stream: Stream;
  readonly bank: SimulatedBank;
  readonly checks: Checks;
  readonly servers: Record<Kind, Server>;
  readonly machines = new Set<Machine>();
  /** Pushes as the outside saw them, by message. */
  readonly pushed = new Map<string, number>();
  /** The platform of half of the seeds has ASSIGNMENT=offer. */
  readonly offersOrders: boolean;
  /** Requests from outside that have no answer yet. */
  unanswered = 0;

  constructor(world: World, report: (event: unknown) => void) {
    this.world = world;
    this.network = new Network(world);
    this.stream = new Stream(world, GROUPS);
    this.bank = new SimulatedBank(world, report);
    this.checks = new Checks(world);
    this.offersOrders = world.seed % 2 === 0;
    const server = (kind: Kind) => new Server(world, kind, (changes) => this.checks.committed(kind, changes));
    this.servers = {
      orders: server("orders"),
      partners: server("partners"),
      notifications: server("notifications"),
    };
  }

  boot(kind: Kind, name: string): void {
    const machine = new Machine(this.world, name);
    this.machines.add(machine);
    machine.skewMs = this.world.random.between(-2_000, 2_000);
    machine.whenKilled(() => {
      this.machines.delete(machine);
      this.world.at(this.world.random.between(100, 4_000), () => this.boot(kind, name));
    });
    const start = { orders: this.#orders, partners: this.#partners, notifications: this.#notifications }[
      kind
    ];
    this.world.at(0, () => start.call(this, machine), machine);
  }

  #orders(machine: Machine): void {
    const { base, out, run, db } = this.#common("orders", machine);
    const deps: OrdersDependencies = {
      ...base,
      outbox: out,
      live: { publish: () => undefined },
      banks: {
        find: async (id) =>
          id === this.bank.id
            ? {
                ...{ id, title: "Bank", adapter: "sandbox", settings: "", active: true, version: 1 },
                ...{ webcheckoutUrl: "https://bank.example", connect: () => this.bank.client() },
              }
            : undefined,
      } as OrdersDependencies["banks"],
      checkouts: checkoutGate(base.clock),
      orderConnections: keyedLimit({ atOnce: 2, waitMs: 300 }),
      deliveryTokens: HANDOVER,
      offersOrders: this.offersOrders,
      offerMs: 30_000,
      offerCounts: { accepted: 0, declined: 0, expired: 0, pooled: 0 },
      courierOrdersMax: 1_000,
      courierNearMeters: 300,
      supportRefundMaxMinor: 0,
      courierSeesPhone: true,
      deliveredVisibleMs: 3_600_000,
      partnerVisibleMs: 86_400_000,
      brokerReady: async () => true,
      encryptionKeys: { secret: "seal-secret-of-the-simulation-0123456" },
      wakeRefunds: () => refunds.wake(),
      publicUrl: "https://waybill.example",
    };
    const logger = this.#logger(machine);
    const refunds = timer({
      name: "refunds",
      intervalMs: JOBS_MS,
      run: (stopping) => processRefunds(deps, logger, stopping),
    });
    const deadlines = timer({
      name: "deadlines",
      intervalMs: JOBS_MS,
      run: (stopping) => applyDeadlines(deps, logger, stopping),
    });
    const remember: Handler = { inTransaction: async () => undefined };
    run(
      this.#inbox("orders", machine, db, {
        ...Object.fromEntries(GROUPS.orders.map((type) => [type, remember])),
        ...noticeHandlers(deps),
      }),
    );
    run(out.mixin);
    const offers = (stopping: AbortSignal) => makeOffers(deps, logger, stopping);
    if (deps.offersOrders) run(timer({ name: "offers", intervalMs: JOBS_MS, run: offers }).mixin);
    run(refunds.mixin);
    const counts = reconciliationCounts();
    const reconcile = (stopping: AbortSignal) => reconcilePayments(deps, logger, counts, stopping);
    run(timer({ name: "reconciliation", intervalMs: JOBS_MS, run: reconcile }).mixin);
    run(deadlines.mixin);
    this.network.offer(machine, {
      "orders.confirm": (ctx) => confirmOrder(deps, ctx),
      "orders.receivePayment": (ctx) => receivePayment(deps, ctx),
      "orders.applyPartnerCallback": (ctx: Ctx<Params<"orders.applyPartnerCallback">>) =>
        applyPartnerCallback(deps, ctx.params),
      "orders.state": ({ params: { orderId } }: Ctx<{ orderId: string }>) =>
        statement(db.db, (view) => stateIn(view, orderId)),
      "orders.update": (ctx) => changing.updateOrder(deps, ctx),
      "orders.cancel": (ctx) => changing.cancelOrder(deps, ctx),
      "orders.accept": (ctx) => byHand.acceptOrder(deps, ctx),
      "orders.makeReady": (ctx) => byHand.makeOrderReady(deps, ctx),
      "orders.reject": (ctx) => byHand.rejectOrder(deps, ctx),
      "orders.refund": (ctx) => changing.refundOrder(deps, ctx),
      "orders.override": (ctx) => changing.overrideOrder(deps, ctx),
      "orders.reassign": (ctx) => changing.reassignOrder(deps, ctx),
      "orders.assign": (ctx) => deliveries.assignOrder(deps, ctx),
      "orders.release": (ctx) => deliveries.releaseOrder(deps, ctx),
      "orders.deliver": (ctx) => deliveries.deliverOrder(deps, ctx),
      "orders.decline": (ctx) => deliveries.declineOrder(deps, ctx),
      "orders.pickUp": (ctx) => deliveries.pickUpOrder(deps, ctx),
      "orders.fail": (ctx) => deliveries.failOrder(deps, ctx),
    });
  }

  #partners(machine: Machine): void {
    const { base, out, run, db } = this.#common("partners", machine);
    const perPartner = keyedLimit({ atOnce: 4, waitMs: 300 });
    const orderState: OrderState = async (orderId) => {
      const asked = this.network.call("orders.state", { params: { orderId } }, ORDERS_TIMEOUT_MS, machine);
      return ((await asked) as Result<"orders.state">).state;
    };
    const deps = { ...base, outbox: out, orderState, guard: {} as never, perPartner };
    const handlers = orderHandlers({
      ...{ outbox: out, catalogueOutbox: out },
      orderState,
      wakeSenderAfter: () => undefined,
      publicUrl: "https://waybill.example",
    });
    run(
      this.#inbox("partners", machine, db, { ...handlers, "order.paid": poisoned(handlers["order.paid"]) }),
    );
    run(out.mixin);
    const tries = () => firstTries({ server: this.servers.partners, machine }, db, out);
    run(timer({ name: "webhooks", intervalMs: TRIES_MS, run: tries }).mixin);
    const sweep = () => sweepReservations(deps, SWEEP_GRACE_MS);
    run(timer({ name: "reservations", intervalMs: JOBS_MS, run: sweep }).mixin);
    this.network.offer(machine, {
      "partners.reserve": (ctx: Ctx<Params<"partners.reserve">>) => reserve(deps, ctx.params),
    });
  }

  /**
   * A stand-in for a service that receives messages about orders and calls external systems. Its machinery is the same
   * as in other services.
   */
  #notifications(machine: Machine): void {
    const { run, db } = this.#common("notifications", machine);
    const push: Handler<MessageType & `order.${string}`> = {
      external: async ({ id, data }) => {
        if (data.note === POISON.throws) throw new Error("poison");
        if (data.note === POISON.kills) {
          machine.kill();
          await machine.mayEnd(1);
        }
        const slow = this.world.trouble(0.15);
        await this.world.pause(slow ? this.world.random.between(1_000, 25_000) : 20, machine);
        if (this.world.trouble(0.05)) throw new Error("the provider did not answer");
        this.pushed.set(id, (this.pushed.get(id) ?? 0) + 1);
        return async () => undefined;
      },
    };
    const handlers = Object.fromEntries(CREATED_TO_ENDED.map((type) => [type, push]));
    run(this.#inbox("notifications", machine, db, handlers));
  }

  #common(kind: Kind, machine: Machine) {
    const postgres = this.servers[kind].connect(machine);
    const clock = { now: () => Date.now() };
    const messageBus = this.stream.messageBus(machine);
    const limits = { sweepMs: SWEEP_MS, batch: 20 };
    const out = outbox({ postgres, messageBus, source: `waybill/${kind}`, clock, limits });
    const run = (mixin: Partial<ServiceSchema>) => start(mixin, machine, this.#logger(machine));
    return { base: { clock, postgres }, out, run, db: postgres };
  }

  #inbox(group: Kind, machine: Machine, postgres: Postgres, handlers: Handlers) {
    return consumer({
      ...{ postgres, messageBus: this.stream.messageBus(machine), group },
      handlers: Object.fromEntries(
        Object.entries(handlers).map(([type, handler]) => [
          type,
          this.#watched(group, postgres, handler as Handler),
        ]),
      ),
      isolation: { taken: false },
      limits: { sweepMs: SWEEP_MS },
    }).mixin;
  }

  /** The handler with a line in a ledger for each effect, where each belongs: in the message's transaction. */
  #watched(group: Kind, { db }: Postgres, handler: Handler): Handler {
    const enter = (trx: Db, message: Message) => {
      const outside = this.world.faults.has("effect outside the transaction");
      const line = { group, messageId: message.id };
      return statement(outside ? db : trx, (view) => view.insert("effects", newId(), line));
    };
    if (handler.external) {
      return {
        async external(message, lease) {
          const commit = await handler.external(message, lease);
          return async (trx) => {
            await enter(trx, message);
            await commit?.(trx);
          };
        },
      };
    }
    return {
      async inTransaction(trx, message, delivery) {
        await enter(trx, message);
        await handler.inTransaction(trx, message, delivery);
      },
      ...(handler.dead && { dead: handler.dead }),
    };
  }

  #logger(machine: Machine) {
    const note = (...text: unknown[]) => {
      const line = text.join(" ");
      this.world.say(`${machine.name}: ${line}`);
      if (/TypeError|RangeError|ReferenceError|violates|is not a function/.test(line)) {
        this.world.violated(`a failure of ours: ${line}`);
      }
    };
    return { fatal: note, error: note, warn: note, info: note, debug: note, trace: note } as never;
  }
}

/** An order that Partners can never take becomes a dead letter there. */
function poisoned(handler: Handlers["order.paid"]): Handler<"order.paid"> {
  return {
    ...(handler?.dead && { dead: handler.dead }),
    async inTransaction(trx, message, delivery) {
      if (message.data.note === POISON.partners) throw new Error("poison");
      await handler?.inTransaction?.(trx, message, delivery);
    },
  };
}

interface Hooks {
  started?: ((this: unknown) => Promise<void>)[];
}

/** Starts what a mixin runs in the background, as Moleculer would. */
function start(mixin: Partial<ServiceSchema>, machine: Machine, logger: never): void {
  const schema: Hooks = {};
  const { merged } = mixin as { merged?: (schema: Hooks) => void };
  merged?.(schema);
  const service = { logger, broker: { nodeID: machine.name } };
  for (const started of schema.started ?? []) void started.call(service);
}
