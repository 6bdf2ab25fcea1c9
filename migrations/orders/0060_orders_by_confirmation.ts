import type { Knex } from "knex";

// Indexes are created concurrently with writes.
export const config = { transaction: false };

const OWNERS = [
  { name: "customer", column: "customer_id", where: "" },
  { name: "partner", column: "partner_id", where: "" },
  { name: "deliverer", column: "deliverer_id", where: "WHERE deliverer_id IS NOT NULL" },
] as const;

/**
 * The lists of an owner's orders are sorted by the time of confirmation. An order has the id of its check, which was
 * created up to ten minutes before, so the order of ids differs.
 */
export async function up(knex: Knex): Promise<void> {
  for (const { name, column, where } of OWNERS) {
    await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS orders_of_${name}_idx`);
    await knex.raw(
      `CREATE INDEX CONCURRENTLY orders_of_${name}_idx ON orders (${column}, created_at, id) ${where}`,
    );
    await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS orders_${name}_idx`);
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const { name, column, where } of OWNERS) {
    await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS orders_${name}_idx`);
    await knex.raw(`CREATE INDEX CONCURRENTLY orders_${name}_idx ON orders (${column}, id) ${where}`);
    await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS orders_of_${name}_idx`);
  }
}
