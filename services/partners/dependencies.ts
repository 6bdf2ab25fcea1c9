import type { ServiceSchema } from "moleculer";
import type { Result } from "../../contracts/actions.ts";
import type { Clock } from "../../lib/clock.ts";
import type { EncryptionKeys } from "../../lib/encryption.ts";
import type { KeyedLimit } from "../../lib/keyed-limit.ts";
import type { GuardOptions } from "../../lib/net/guarded-request.ts";
import type { Transaction } from "../../lib/sql/database.ts";
import type { Outbox } from "../../mixins/outbox/outbox.mixin.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";

/** Reads the present state of an order from Orders; undefined for an unknown order. @throws Error when Orders is not reachable */
export type OrderState = (orderId: string) => Promise<Result<"orders.state">["state"]>;

/** The dependencies of this service's actions, message handlers and workers. */
export interface PartnersDependencies {
  postgres: Postgres;
  outbox: Pick<Outbox, "add" | "rowsFor">;
  clock: Clock;
  /** Limits the database connections that the orders of one partner use at once. */
  perPartner: KeyedLimit;
  /** Rules for the URLs of partners that the platform may call. */
  guard: GuardOptions;
  /** Encrypt the webhook secrets of partners. */
  keys: EncryptionKeys;
  orderState: OrderState;
  /** Starts a pass over the due webhook attempts once the transaction that adds them has committed. */
  wakeSenderAfter: Sender["wakeAfter"];
}

export interface Sender {
  readonly mixin: Partial<ServiceSchema>;
  /** Starts a pass over the due attempts once the transaction that adds them has committed. */
  wakeAfter(trx: Transaction): void;
  /** Describes the saturation when all slots have been in use for too long; otherwise undefined. */
  saturated(): string | undefined;
}
