import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import { courierRaces } from "../histories/courier-races.ts";
import {
  brokenCouriers,
  brokenHistories,
  brokenMoney,
  brokenStrays,
  countStrays,
} from "../histories/final-rows.ts";
import { SILENT } from "../histories/history.ts";
import { type OrderHistory, orderHistories } from "../histories/order-histories.ts";
import { withoutVersionGuard } from "../histories/planted.ts";
import { eventually } from "../support/eventually.ts";
import { startMoodyBank } from "../support/moody-bank.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";

/** The long form sets these; a seed repeats what the clients do, not how it interleaves. */
const HISTORIES = Number(process.env.HISTORIES ?? 60);
const RACES = Number(process.env.RACES ?? 12);
const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const FAULTY_HISTORIES_MAX = 200;
/** Silence explains itself: of so much of it, an explanation would prove little. 8 % is what clients abandon. */
const UNKNOWN_SHARE_MAX = 0.2;
const DROPPED_SHARE_MAX = 0.02;
const checkers = { brokenMoney, brokenHistories, brokenCouriers, brokenStrays };
const CHUNK = 500;
const SETTLE_TIMEOUT_MS = 150_000;
/** The long form takes minutes, and says how far it is. */
const progress = (text: string) => void (HISTORIES > CHUNK && process.stderr.write(`${text}\n`));
const TIMEOUT_MS = 300_000 + HISTORIES * 200 + RACES * 500;

let bank: Awaited<ReturnType<typeof startMoodyBank>>;
let shop: OrdersHarness;
beforeAll(async () => {
  // Its refunds are done when requested. Other behaviour of banks is not under test here.
  bank = await startMoodyBank();
  shop = await startOrders({ bankUrl: bank.url });
});
afterAll(async () => {
  await shop?.stop();
  await bank.stop();
});

/** The parts of a history that no model explains, for the failure message. */
const shown = ({ seed, orderId, operations, verdict }: OrderHistory) => ({
  ...{ seed, orderId, explained: verdict.longest },
  operations: operations.map(({ input, invoked, returned, outcome }) =>
    JSON.stringify([invoked, returned, input, outcome.kind === "answer" ? brief(outcome.value) : outcome]),
  ),
});
const brief = (value: unknown) => {
  const { status, version, paymentStatus, delivererId, paid, refunded } = value as Record<string, unknown>;
  return { status, version, paymentStatus, delivererId, paid, refunded };
};

describe("an order under concurrent commands of many clients", () => {
  it(
    "is linearizable, and its money, history and deliverer are consistent",
    async () => {
      const sum = { operations: 0, unknown: 0, dropped: 0 };
      for (let done = 0; done < HISTORIES; done += CHUNK) {
        const chunk = { histories: Math.min(CHUNK, HISTORIES - done), seed: SEED + done };
        const report = await orderHistories(shop, chunk);
        const violations = report.violations.map(shown);
        expect({ ...chunk, violations }).toEqual({ ...chunk, violations: [] });
        for (const what of ["operations", "unknown", "dropped"] as const) sum[what] += report[what];
        progress(`${done + chunk.histories} histories can be explained: ${JSON.stringify(sum)}`);
      }
      expect(sum.operations).toBeGreaterThan(HISTORIES * 10);
      expect(sum.unknown / sum.operations).toBeLessThan(UNKNOWN_SHARE_MAX);
      expect(sum.dropped / sum.operations).toBeLessThan(DROPPED_SHARE_MAX);
      // A refund whose bank was too slow on a busy machine comes again after a pause.
      await eventually(shop.settled, { timeoutMs: SETTLE_TIMEOUT_MS });
      expect(await brokenMoney(shop.sql)).toEqual([]);
      expect(await brokenHistories(shop.sql)).toEqual([]);
      expect(await brokenCouriers(shop.sql)).toEqual([]);
      expect(await brokenStrays(shop.sql)).toEqual([]);
      expect(await countStrays(shop.sql)).toBeGreaterThan(HISTORIES / 10);
    },
    TIMEOUT_MS,
  );

  it(
    "is assigned to exactly one of twenty couriers in every race",
    async () => {
      const { refusals, ...races } = await courierRaces(shop, { races: RACES });
      progress(`races: ${JSON.stringify({ ...races, refusals })}`);
      expect({ ...races, refusals }).toMatchObject({ decided: RACES, violations: [] });
      expect(refusals.filter((type) => type !== "ALREADY_ASSIGNED" && !SILENT.test(type))).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

describe("the checkers, with a service that overwrites concurrent changes", () => {
  let broken: OrdersHarness;
  beforeAll(async () => {
    broken = await startOrders({ bankUrl: bank.url });
    // The database would refuse the second of two equal versions, which is one more guard.
    await broken.sql("ALTER TABLE order_transitions DROP CONSTRAINT order_transitions_order_id_version_key");
    await broken.sql("ALTER TABLE order_transitions DISABLE TRIGGER order_transitions_append_only");
  });
  afterAll(() => broken.stop());

  it(
    "find a history that is not linearizable",
    async () => {
      await withoutVersionGuard(async () => {
        for (let seed = 1; seed < FAULTY_HISTORIES_MAX; seed += 20) {
          const { violations } = await orderHistories(broken, { histories: 20, seed });
          if (violations.length > 0) return;
        }
        throw new Error("nothing was found");
      });
    },
    TIMEOUT_MS,
  );

  it(
    "find a race with more than one assignment",
    async () => {
      const { violations } = await withoutVersionGuard(() => courierRaces(broken, { races: 3 }));
      expect(violations.length).toBeGreaterThan(0);
      expect(violations[0]).toMatch(/winners|another one/);
    },
    TIMEOUT_MS,
  );

  describe("find each planted fault in the rows of an order", () => {
    let client: pg.Client;
    let orderId: string;
    beforeAll(async () => {
      client = new pg.Client({ connectionString: broken.url });
      await client.connect();
      ({ orderId } = await broken.placed("delivering"));
    });
    afterAll(() => client.end());

    it.each([
      ["brokenMoney", "orders SET paid_minor = paid_minor + 1 WHERE id = $1"],
      ["brokenMoney", "orders SET refunded_minor = 1 WHERE id = $1"],
      ["brokenMoney", "orders SET refund_pending_minor = 1 WHERE id = $1"],
      ["brokenMoney", "orders SET total_minor = total_minor - 1 WHERE id = $1"],
      ["brokenMoney", "orders SET status = 'expired', closed_at = now(), deadline_at = NULL WHERE id = $1"],
      ["brokenMoney", "payment_receipts SET refund_minor = 1 WHERE order_id = $1"],
      [
        "brokenHistories",
        "order_transitions SET from_status = 'paid' WHERE order_id = $1 AND to_status = 'ready'",
      ],
      ["brokenHistories", "orders SET status = 'failed' WHERE id = $1"],
      ["brokenHistories", "orders SET version = version - 1 WHERE id = $1"],
      ["brokenCouriers", "orders SET deliverer_id = gen_random_uuid() WHERE id = $1"],
      ["brokenCouriers", "order_transitions SET actor = 'somebody' WHERE order_id = $1"],
    ] as const)("with %s: UPDATE %s", async (checker, damage) => {
      const sql = async <T>(text: string) => (await client.query(text)).rows as T[];
      const found = async () => (await checkers[checker](sql)).flatMap((row) => Object.values(row));
      expect(await found()).not.toContain(orderId);
      await client.query("BEGIN");
      await client.query(`UPDATE ${damage}`, [orderId]);
      const ids = await found();
      await client.query("ROLLBACK");
      expect(ids).toContain(orderId);
    });
  });

  it.each([
    [
      "a payment for no order whose alert is about the bank",
      "EUR",
      `outbox SET data = jsonb_set(data, '{subject}', '"the bank"') WHERE data ->> 'subject' = $1`,
    ],
    [
      "a payment in another currency that did not go back whole",
      "CHF",
      "refunds SET amount_minor = 1 WHERE payment_id = $1",
    ],
  ] as const)("find %s", async (_what, currency, damage) => {
    const paymentId = `pay_${newId()}`;
    const { orderId } = currency === "EUR" ? { orderId: newId() } : await broken.placed("paid");
    await broken.paid(orderId, 777, { currency, paymentId });
    const found = async () => (await brokenStrays(broken.sql)).map(({ id }) => id);
    await eventually(async () => expect(await found()).not.toContain(paymentId));
    await broken.sql(`UPDATE ${damage}`, [paymentId]);
    expect(await found()).toContain(paymentId);
  });

  it("count neither races nor histories without any response", async () => {
    const mute = { ...broken, as: () => Promise.reject(fail("SERVICE_UNAVAILABLE")) };
    expect(await courierRaces(mute, { races: 1 })).toMatchObject({ decided: 0, undecided: 2 });
    const { operations, unknown } = await orderHistories(mute, { histories: 6, seed: SEED });
    expect(unknown / operations).toBeGreaterThan(UNKNOWN_SHARE_MAX);
  });
});
