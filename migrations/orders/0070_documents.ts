import type { Knex } from "knex";
import { documentsUp } from "../shared/documents.ts";

export async function up(knex: Knex): Promise<void> {
  await documentsUp(knex, { order_history: [["orderId", "version"]], payments: [["orderId"]] });
}

export { documentsDown as down } from "../shared/documents.ts";
