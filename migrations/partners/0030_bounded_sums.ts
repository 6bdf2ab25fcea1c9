import type { Knex } from "knex";
import { boundSums, type Sums, unboundSums } from "../shared/bounded-sums.ts";

export const sums: Sums = {
  partners: ["delivery_fee_minor"],
  availability: ["price_minor"],
  stock_reservation_lines: ["unit_price_minor"],
};

export const up = (knex: Knex): Promise<void> => boundSums(knex, sums);

export const down = (knex: Knex): Promise<void> => unboundSums(knex, sums);
