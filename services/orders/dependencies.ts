import type { ServiceSchema } from "moleculer";
import type { Params, Result } from "../../contracts/actions.ts";
import type { Bank as BankView } from "../../contracts/banks.ts";
import type { LiveData, LiveEvent } from "../../contracts/live.ts";
import type { Caller } from "../../contracts/meta.ts";
import type { Clock } from "../../lib/clock.ts";
import type { DeliveryTokens } from "../../lib/delivery-tokens.ts";
import type { EncryptionKeys } from "../../lib/encryption.ts";
import type { KeyedLimit } from "../../lib/keyed-limit.ts";
import type { Db, Transaction } from "../../lib/sql/database.ts";
import type { Outbox } from "../../mixins/outbox/outbox.mixin.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import type { Bank } from "../../providers/banks/index.ts";

/** The dependencies of this service's actions, message handlers and workers. */
export interface OrdersDependencies {
  clock: Clock;
  postgres: Postgres;
  outbox: Pick<Outbox, "add" | "rowsFor">;
  banks: Banks;
  checkouts: CheckoutGate;
  /** Limits the database connections that concurrent changes of one order use. */
  orderConnections: KeyedLimit;
  deliveryTokens: DeliveryTokens;
  live: Pick<LiveUpdates, "publish">;
  /** Whether ready orders are offered to couriers one by one before they are in the pool, where their partner has no other setting. */
  offersOrders: boolean;
  /** How long a courier has to answer an offer. */
  offerMs: number;
  offerCounts: OfferCounts;
  /** How many orders a deliverer may deliver at once, unless an operator has set another number. */
  courierOrdersMax: number;
  /** A deliverer within this distance of the partner or the customer is near. */
  courierNearMeters: number;
  /** How much of one order the role support may refund in total, in minor units. */
  supportRefundMaxMinor: number;
  /** Whether a deliverer sees the customer's phone number during the delivery. */
  courierSeesPhone: boolean;
  /** How long the deliverer sees the customer after the end of the order. */
  deliveredVisibleMs: number;
  /** How long the partner's staff see the customer after the end of the order. */
  partnerVisibleMs: number;
  /** Whether the message bus takes messages now. */
  brokerReady(): Promise<boolean>;
  /** Makes the worker process due refunds now instead of at its next interval. */
  wakeRefunds(): void;
  /** Decrypt the tickets of exports. */
  encryptionKeys: EncryptionKeys;
  /** The base URL of the gateway for the banks. */
  publicUrl: string;
}

/** The outcomes of offers since the process started. */
export interface OfferCounts extends Record<string, number> {
  accepted: number;
  declined: number;
  expired: number;
  /** Orders that went into the pool, because no further courier could be offered them. */
  pooled: number;
}

/** Isolates the banks from each other: a circuit breaker and a limit of concurrent confirmations for each. */
export interface CheckoutGate {
  /**
   * Runs the steps of a confirmation at a bank.
   * @throws BANK_UNAVAILABLE instead of running `work`, and the errors of `work`
   */
  run<T>(bankId: string, work: () => Promise<T>): Promise<T>;
  /** Calls the bank and counts a missing answer as a failure; a refusal is an answer. @throws the errors of `request` */
  call<T>(bankId: string, request: () => Promise<T>): Promise<T>;
  /** The ids of the banks whose confirmations are refused now. */
  refusedBanks(): string[];
}

export interface RegisteredBank extends BankRow {
  /** The adapter of the bank, with its settings decrypted. @throws an error for settings that cannot be used */
  connect(): Bank;
}

export interface Banks {
  /**
   * A bank, as it was at most two seconds ago.
   * @param seenVersion the version that did not work: a newer one is read
   */
  find(bankId: string, seenVersion?: number): Promise<RegisteredBank | undefined>;
  list(caller: Caller): Promise<Result<"orders.listBanks">>;
  create(trx: Db, params: Params<"orders.createBank">): Promise<BankView>;
  update(trx: Transaction, params: Params<"orders.updateBank">): Promise<BankView>;
}

export interface BankRow {
  id: string;
  title: string;
  adapter: string;
  /** Encrypted. */
  settings: string;
  webcheckoutUrl: string;
  active: boolean;
  version: number;
}

export interface LiveUpdates {
  readonly mixin: Partial<ServiceSchema>;
  /** Broadcasts an event to all nodes. It may be lost. */
  publish<E extends LiveEvent>(event: E, data: LiveData<E>): void;
}
