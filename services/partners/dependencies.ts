import type { Knex } from "knex";
import type { ServiceSchema } from "moleculer";
import type { Result } from "../../contracts/actions.ts";
import type { Clock } from "../../lib/clock.ts";
import type { EncryptionKeys } from "../../lib/encryption.ts";
import type { KeyedLimit } from "../../lib/keyed-limit.ts";
import type { GuardOptions } from "../../lib/net/guarded-request.ts";
import type { Outbox } from "../../mixins/outbox/outbox.mixin.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";

/** Where an order is now, as Orders says; undefined: there is no such order. @throws Error when Orders cannot say */
export type OrderState = (orderId: string) => Promise<Result<"orders.state">["state"]>;

/** What the handlers of this service work with. */
export interface PartnersDependencies {
  postgres: Postgres;
  outbox: Pick<Outbox, "add">;
  clock: Clock;
  /** How many connections to the database the orders from one partner take. */
  perPartner: KeyedLimit;
  /** Which URLs of partners may be called. */
  guard: GuardOptions;
}

export interface EndpointDeps extends PartnersDependencies {
  keys: EncryptionKeys;
}

export interface Sender {
  readonly mixin: Partial<ServiceSchema>;
  /** Looks for tries that are due, once the transaction that makes them has committed. */
  wakeAfter(trx: Knex.Transaction): void;
  /** That all places have been taken for too long; undefined while they have not. */
  saturated(): string | undefined;
}
