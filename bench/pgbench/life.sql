\set product random(1, 1000)
-- Reserve the stock.
UPDATE b_stock SET stock = stock - 1 WHERE product_id = :product AND stock >= 1;
-- The order, its line and its message: one statement, one durable commit.
WITH o AS (
  INSERT INTO b_orders (id, customer_id, status, version, total_minor, snapshot)
  VALUES (gen_random_uuid(), gen_random_uuid(), 'pending', 1, 1250, jsonb_build_object('name', 'Ana', 'line1', repeat('x', 300)))
  RETURNING id
), l AS (
  INSERT INTO b_lines SELECT id, :product, 'Margherita', 1, 1250 FROM o
), m AS (
  INSERT INTO b_outbox SELECT gen_random_uuid(), 'order.created', jsonb_build_object('id', id, 'x', repeat('x', 800)) FROM o
)
SELECT id AS order_id FROM o \gset
-- The payment: event, receipt, guarded move and messages: one statement, one durable commit.
WITH e AS (
  INSERT INTO b_events VALUES (1, gen_random_uuid(), repeat('x', 300)) RETURNING event_id
), r AS (
  INSERT INTO b_receipts SELECT 1, event_id, ':order_id'::uuid, 1250 FROM e
), u AS (
  UPDATE b_orders SET status = 'paid', version = 2, paid_minor = 1250
  WHERE id = ':order_id'::uuid AND status = 'pending' AND version = 1 RETURNING id
)
INSERT INTO b_outbox
SELECT gen_random_uuid(), t, jsonb_build_object('id', id, 'x', repeat('x', 800)) FROM u, unnest(ARRAY['order.paid', 'payment.received']) t;
