import type { Knex } from "knex";
import { boundSums, type Sums, unboundSums } from "../shared/bounded-sums.ts";

export const sums: Sums = {
  orders: [
    ...["fee_minor", "total_minor", "paid_minor"],
    ...["refunded_minor", "refund_pending_minor", "refund_failed_minor"],
  ],
  order_lines: ["unit_price_minor"],
  payment_receipts: ["amount_minor"],
  refunds: ["amount_minor"],
};

export const up = (knex: Knex): Promise<void> => boundSums(knex, sums);

export const down = (knex: Knex): Promise<void> => unboundSums(knex, sums);
