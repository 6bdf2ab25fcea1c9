import type { Knex } from "knex";
import { validateSums } from "../shared/bounded-sums.ts";
import { sums } from "./0030_bounded_sums.ts";

export const up = (knex: Knex): Promise<void> => validateSums(knex, sums);

/** Nothing to undo: the constraint goes with the migration before. */
export const down = async (): Promise<void> => undefined;
