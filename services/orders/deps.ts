import type { Clock } from "../../lib/clock.ts";
import type { KeyedLimit } from "../../lib/keyed-limit.ts";
import type { Outbox } from "../../mixins/outbox/outbox.mixin.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import type { Banks } from "./banks.ts";
import type { CheckoutGate } from "./checkout-gate.ts";
import type { Handover } from "./handover.ts";
import type { Live } from "./live.ts";

/** What the handlers of this service work with. */
export interface OrdersDeps {
  clock: Clock;
  postgres: Postgres;
  outbox: Pick<Outbox, "add">;
  banks: Banks;
  checkouts: CheckoutGate;
  /** How many connections to the database the changes of one order take. */
  perOrder: KeyedLimit;
  handover: Handover;
  live: Pick<Live, "tell">;
  /** How long after its delivery an order's deliverer still sees its customer. */
  deliveredVisibleMs: number;
  /** There are refunds to be done: the worker need not wait for its next look. */
  wakeRefunds(): void;
  /** Where banks reach the gateway. */
  publicUrl: string;
}
