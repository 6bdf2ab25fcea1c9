import type { Knex } from "knex";
import { documentsUp } from "../shared/documents.ts";

export async function up(knex: Knex): Promise<void> {
  await documentsUp(knex, { notifications: [["userId", "-_id"]] });
}

export { documentsDown as down } from "../shared/documents.ts";
