import type { Knex } from "knex";

/** The search words of an order hold the name and the phone number of its customer, so they are deleted with the order. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE FUNCTION delete_order_search() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      DELETE FROM order_search WHERE order_id IN (SELECT id FROM deleted_orders);
      RETURN NULL;
    END $$
  `);
  await knex.raw(`
    CREATE TRIGGER orders_search_deleted AFTER DELETE ON orders REFERENCING OLD TABLE AS deleted_orders
      FOR EACH STATEMENT EXECUTE FUNCTION delete_order_search()
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TRIGGER orders_search_deleted ON orders");
  await knex.raw("DROP FUNCTION delete_order_search");
}
