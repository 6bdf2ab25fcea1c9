-- The minimum that an order has to store. The baseline does the same durable work without an application.
DROP TABLE IF EXISTS b_outbox, b_receipts, b_events, b_lines, b_orders, b_stock;
CREATE TABLE b_stock (product_id int PRIMARY KEY, stock bigint NOT NULL);
CREATE TABLE b_orders (
  id uuid PRIMARY KEY, customer_id uuid NOT NULL, status text NOT NULL, version int NOT NULL,
  total_minor bigint NOT NULL, paid_minor bigint NOT NULL DEFAULT 0, snapshot jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON b_orders (customer_id, id);
CREATE TABLE b_lines (order_id uuid REFERENCES b_orders, product_id int, title text, quantity int, price_minor bigint,
  PRIMARY KEY (order_id, product_id));
CREATE TABLE b_events (bank_id int, event_id uuid, raw text, PRIMARY KEY (bank_id, event_id));
CREATE TABLE b_receipts (bank_id int, payment_id uuid, order_id uuid, amount_minor bigint, PRIMARY KEY (bank_id, payment_id));
CREATE TABLE b_outbox (id uuid PRIMARY KEY, type text, data jsonb, created_at timestamptz NOT NULL DEFAULT now());
INSERT INTO b_stock SELECT n, 1000000000 FROM generate_series(1, 1000) n;
