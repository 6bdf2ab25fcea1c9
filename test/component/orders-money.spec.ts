import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { moneyProblems } from "../support/money.ts";
import { type Mood, startMoodyBank } from "../support/moody-bank.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";

const ORDERS = 20;
/** Orders that are raced about at once: ten commands each. */
const AT_ONCE = 4;
/** Banks insist, and a busy machine makes them. */
const TEST_TIMEOUT_MS = 300_000;
const REST = { timeoutMs: 120_000 };
const MOODS: Mood[] = ["well", "lost", "down", "well"];
/** On a busy machine a request may be answered 503 or time out; no other failure is accepted. */
const EXPECTED = /^4\d\d |^503 SERVICE_UNAVAILABLE|^504 REQUEST_TIMEOUT/;

type Order = Awaited<ReturnType<OrdersHarness["confirmed"]>>;

/** Orders at a bank of changing mood. @param insists the bank reports until it is answered, as banks do */
async function startShop({ insists }: { insists: boolean }) {
  const bank = await startMoodyBank();
  const shop = await startOrders({ bankUrl: bank.url });
  const received = new Map<string, number>();
  const refusals = new Set<string>();
  const pay = async ({ orderId }: Order, amount: number, paymentId: string) => {
    const report = () => shop.paid(orderId, amount, { paymentId });
    await (insists ? eventually(report) : report());
    received.set(paymentId, amount);
  };
  /** Everything that can happen to an order's money, all at once, by many clients. */
  const race = async (order: Order, number: number): Promise<void> => {
    const { orderId } = order;
    const [first, second] = [`pay_${newId()}`, `pay_${newId()}`];
    const refund = (amountMinor?: number) =>
      shop.as(shop.admin, "orders.refund", {
        orderId,
        reason: "goodwill",
        ...(amountMinor && { amount: { amountMinor, currency: "EUR" } }),
      });
    const commands: (() => Promise<unknown>)[] = [
      () => pay(order, 2950, first),
      () => pay(order, 2950, first),
      () => pay(order, number % 3 ? 1000 : 4000, second),
      () => pay(order, number % 3 ? 1000 : 4000, second),
      () => shop.as(order.customer, "orders.cancel", { orderId }),
      () => shop.as(shop.admin, "orders.cancel", { orderId }),
      () =>
        shop.sql(
          "UPDATE orders SET deadline_at = now(), partner_notified_at = now() WHERE id = $1 AND deadline_at IS NOT NULL",
          [orderId],
        ),
      () => shop.say(order, "order.rejected", { reason: "Out of flour" }),
      () => refund(500),
      () => refund(),
    ];
    bank.mood = MOODS[number % MOODS.length] ?? "well";
    // Another one begins each time, so that another one wins.
    const turned = [
      ...commands.slice(number % commands.length),
      ...commands.slice(0, number % commands.length),
    ];
    for (const one of await Promise.allSettled(turned.map((command) => command()))) {
      if (one.status === "rejected") refusals.add(`${one.reason.code} ${one.reason.type}`);
    }
  };
  /** Lets the bank be well, and waits until nothing moves any more. */
  const rest = () =>
    eventually(async () => {
      bank.mood = "well";
      await shop.sql("UPDATE refunds SET next_at = now() WHERE lease_token IS NULL");
      const [open] = await shop.sql<{ count: number }>(
        `SELECT ((SELECT count(*) FROM refunds WHERE state NOT IN ('completed', 'failed'))
          + (SELECT count(*) FROM orders WHERE deadline_at <= now()))::integer AS count`,
      );
      expect(open?.count).toBe(0);
    }, REST);
  const stop = async () => {
    await shop.stop();
    await bank.stop();
  };
  return { bank, shop, received, refusals, race, rest, stop };
}

let stand: Awaited<ReturnType<typeof startShop>>;
const problems = () => moneyProblems(stand.shop.sql, { received: stand.received, given: stand.bank.given });
async function raceAll(until: () => Promise<boolean> = async () => false): Promise<void> {
  for (let number = 0; number < ORDERS && !(await until()); number += AT_ONCE) {
    const together = Array.from({ length: AT_ONCE }, (_, index) => number + index);
    await Promise.all(
      together.map(async (one) => stand.race(await eventually(() => stand.shop.confirmed()), one)),
    );
  }
}

describe("payment, cancellation, expiry, rejection and refund at the same moment", () => {
  beforeAll(async () => {
    stand = await startShop({ insists: true });
  });
  afterAll(() => stand.stop());

  it(
    "conserve the money, and each refund is executed once, with any failures of the bank",
    async () => {
      await raceAll();
      await stand.rest();
      expect(await problems()).toEqual([]);
      expect(stand.received.size).toBe(2 * ORDERS);
      expect(stand.bank.given.size).toBeGreaterThan(ORDERS);
      expect([...stand.refusals].filter((refusal) => !EXPECTED.test(refusal))).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  it.each([
    ["a payment is lost", "DELETE FROM payment_receipts WHERE id = $1"],
    [
      "a payment is booked wrongly",
      "UPDATE payment_receipts SET amount_minor = amount_minor + 1 WHERE id = $1",
    ],
  ])("the checker detects when %s", async (_, fault) => {
    const order = await eventually(() => stand.shop.confirmed());
    const paymentId = `pay_${newId()}`;
    await eventually(() => stand.shop.paid(order.orderId, 1000, { paymentId }));
    const [receipt] = await stand.shop.sql("SELECT id FROM payment_receipts WHERE payment_id = $1", [
      paymentId,
    ]);
    const received = new Map([[paymentId, 1000]]);
    const found = () => moneyProblems(stand.shop.sql, { received, given: stand.bank.given });
    expect(await found()).toEqual([]);
    await stand.shop.sql(fault, [receipt?.id]);
    expect((await found()).length).toBeGreaterThan(0);
    await stand.shop.sql("UPDATE orders SET paid_minor = 0 WHERE id = $1", [order.orderId]);
    await stand.shop.sql("DELETE FROM payment_receipts WHERE id = $1", [receipt?.id]);
  });

  it("the checker detects a refund that is executed twice, or executed and not recorded", async () => {
    const [id = "", amount = 0] = [...stand.bank.given][0] ?? [];
    for (const given of [
      new Map(stand.bank.given).set(id, 2 * amount),
      new Map(stand.bank.given).set(newId(), 1),
    ]) {
      expect(await moneyProblems(stand.shop.sql, { received: stand.received, given })).toHaveLength(1);
    }
  });
});

describe("the same race, without the database's guards on writes", () => {
  beforeAll(async () => {
    stand = await startShop({ insists: false });
    await stand.shop.sql(await withoutGuards());
  });
  afterAll(() => stand.stop());

  it(
    "is found to lose money",
    async () => {
      const isFound = async () => (await problems()).some((line) => /paid \d+, received \d+/.test(line));
      await raceAll(isFound);
      expect(await isFound()).toBe(true);
    },
    TEST_TIMEOUT_MS,
  );
});

/**
 * Puts a view in the place of the orders, whose trigger writes any given values: the version and state in an
 * UPDATE's condition are looked at when the row is read, and no more when it is written, as if they were not there.
 */
async function withoutGuards(): Promise<string> {
  const columns = await stand.shop.sql<{ name: string }>(
    "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'orders'",
  );
  return `ALTER TABLE orders RENAME TO guarded_orders;
    CREATE VIEW orders AS SELECT * FROM guarded_orders;
    CREATE FUNCTION write_unguarded() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      UPDATE guarded_orders SET ${columns.map(({ name }) => `${name} = NEW.${name}`).join(", ")} WHERE id = NEW.id;
      RETURN NEW;
    END $$;
    CREATE TRIGGER unguarded INSTEAD OF UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION write_unguarded()`;
}
