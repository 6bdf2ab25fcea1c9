import type { ServiceBroker, ServiceSchema } from "moleculer";
import type { Params, Result } from "../../contracts/actions.ts";
import type { Bank as BankView } from "../../contracts/banks.ts";
import type { LiveData, LiveEvent } from "../../contracts/live.ts";
import type { Caller } from "../../contracts/meta.ts";
import type { Clock } from "../../lib/clock.ts";
import type { KeyedLimit } from "../../lib/keyed-limit.ts";
import type { Db } from "../../lib/sql/database.ts";
import type { Outbox } from "../../mixins/outbox/outbox.mixin.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import type { Bank } from "../../providers/banks/index.ts";

/** What the handlers of this service work with. */
export interface OrdersDependencies {
  clock: Clock;
  postgres: Postgres;
  outbox: Pick<Outbox, "add">;
  banks: Banks;
  checkouts: CheckoutGate;
  /** How many connections to the database the changes of one order take. */
  orderConnections: KeyedLimit;
  deliveryTokens: DeliveryTokens;
  live: Pick<Live, "tell">;
  /** How long after its delivery an order's deliverer still sees its customer. */
  deliveredVisibleMs: number;
  /** There are refunds to be done: the worker need not wait for its next look. */
  wakeRefunds(): void;
  /** Where banks reach the gateway. */
  publicUrl: string;
}

/** Isolates the customers of one bank from the failures of another. */
export interface CheckoutGate {
  /**
   * Runs the steps of a confirmation that end at the bank.
   * @throws BANK_UNAVAILABLE before anything is done, and what `work` throws
   */
  run<T>(bankId: string, work: () => Promise<T>): Promise<T>;
  /** Calls the bank and counts whether it answered; a refusal is an answer. @throws what `call` throws */
  ask<T>(bankId: string, call: () => Promise<T>): Promise<T>;
  /** The ids of the banks that are not asked now. */
  closed(): string[];
}

/** What proves a right without being stored anywhere: both follow from the order and a secret of ours. */
export interface DeliveryTokens {
  /** Four digits that only the customer is told. */
  pinOf(orderId: string): string;
  isPin(orderId: string, pin: string): boolean;
  /** Opens the tracking page of one order; the same however often it is asked for. */
  trackingTokenOf(orderId: string, createdAt: string): string;
  /** The order that a token opens; undefined for one that is none of ours or over. */
  orderOfToken(token: string, nowMs: number): string | undefined;
}

export interface OpenedBank extends BankRow {
  /** The bank itself, its settings unsealed. @throws SealError, Error */
  connect(): Bank;
}

export interface Banks {
  find(db: Db, bankId: string): Promise<OpenedBank | undefined>;
  list(caller: Caller): Promise<Result<"orders.listBanks">>;
  create(trx: Db, params: Params<"orders.createBank">): Promise<BankView>;
  update(trx: Db, params: Params<"orders.updateBank">): Promise<BankView>;
}

export interface BankRow {
  id: string;
  title: string;
  adapter: string;
  /** Sealed. */
  settings: string;
  webcheckoutUrl: string;
  active: boolean;
  version: number;
}

export interface Live {
  /** Goes into the service's `mixins`. */
  readonly mixin: Partial<ServiceSchema>;
  /** Tells every node; whoever misses it has missed nothing but the moment. */
  tell<E extends LiveEvent>(event: E, data: LiveData<E>): void;
  /** The service's logger, for work that no call has begun. @throws Error before the service has started */
  readonly logger: ServiceBroker["logger"];
}
