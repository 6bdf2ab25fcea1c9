import type { Knex } from "knex";
import { validateSums } from "../shared/bounded-sums.ts";
import { sums } from "./0030_bounded_sums.ts";

export const up = (knex: Knex): Promise<void> => validateSums(knex, sums);

/** Nothing to undo: the previous migration removes the constraint. */
export const down = async (): Promise<void> => undefined;
