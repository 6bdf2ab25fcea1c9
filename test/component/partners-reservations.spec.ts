import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import {
  euro,
  lineOf,
  orderOf,
  type PartnersHarness,
  reservationOf,
  startPartners,
} from "../support/partners.ts";

let shop: PartnersHarness;
beforeAll(async () => {
  shop = await startPartners({ sweep: { intervalMs: 50, graceMs: 0 } });
});
afterAll(() => shop.stop());

async function stockOf(productId: string): Promise<number | null> {
  const [found] = await shop.sql<{ stock: number | null }>(
    "SELECT stock FROM availability WHERE product_id = $1",
    [productId],
  );
  return found?.stock ?? null;
}

async function stateOf(orderId: string): Promise<string | undefined> {
  const [found] = await shop.sql<{ state: string }>(
    "SELECT state FROM stock_reservations WHERE order_id = $1",
    [orderId],
  );
  return found?.state;
}

/** As if its time were over. */
async function expire(orderId: string): Promise<void> {
  await shop.sql(
    "UPDATE stock_reservations SET expires_at = now() - interval '1 second' WHERE order_id = $1",
    [orderId],
  );
}

/** A run of the sweeper from begin to end. */
async function sweepOver(): Promise<void> {
  const doomed = await reserved(5, 2);
  await expire(doomed.wanted.orderId);
  await eventually(async () => expect(await stockOf(doomed.offer.productId)).toBe(5));
  expect(await stateOf(doomed.wanted.orderId)).toBe("released");
}

async function reserved(stock: number, quantity: number) {
  const partner = await shop.openPartner();
  const offer = await shop.product(partner.id, { stock });
  const wanted = reservationOf(partner, [lineOf(offer, quantity)]);
  await shop.bare("partners.reserve", wanted);
  return { partner, offer, wanted };
}

describe("partners.reserve", () => {
  it("of counted and uncounted products, takes the pieces and returns the partner's snapshot", async () => {
    const partner = await shop.openPartner();
    const counted = await shop.product(partner.id, { stock: 5 });
    const uncounted = await shop.product(partner.id);
    const lines = [lineOf(uncounted, 7), lineOf(counted, 2)];
    const snapshot = await shop.bare("partners.reserve", reservationOf(partner, lines));
    expect(snapshot).toMatchObject({ id: partner.id, title: partner.title, pickup: partner.address });
    expect(await stockOf(counted.productId)).toBe(3);
    expect(await stockOf(uncounted.productId)).toBeNull();
  });

  it("repeated, also concurrently and with the last piece, takes the pieces once", async () => {
    const partner = await shop.openPartner();
    const offer = await shop.product(partner.id, { stock: 1 });
    const wanted = reservationOf(partner, [lineOf(offer, 1)]);
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => shop.bare("partners.reserve", wanted)));
    expect(new Set(answers.map((answer) => answer.id))).toEqual(new Set([partner.id]));
    expect(await stockOf(offer.productId)).toBe(0);
  });

  it("at another price, fee or stock, is refused with the differences and takes nothing", async () => {
    const partner = await shop.openPartner();
    const dear = await shop.product(partner.id, { stock: 5, price: euro(500) });
    const few = await shop.product(partner.id, { stock: 1 });
    const gone = await shop.product(partner.id, { stock: 9 });
    const fine = await shop.product(partner.id, { stock: 9 });
    await shop.asAdmin("partners.deleteProduct", { partnerId: partner.id, productId: gone.productId });
    const lines = [
      { ...lineOf(dear, 1), unitPrice: euro(450) },
      lineOf(few, 2),
      lineOf(gone, 1),
      lineOf(fine, 1),
    ];
    const refused = shop.bare("partners.reserve", reservationOf(partner, lines, { fee: euro(299) }));
    await expect(refused).rejects.toMatchObject({
      type: "QUOTE_CHANGED",
      data: {
        fee: { expected: euro(299), now: euro(300) },
        lines: [
          { productId: dear.productId, quantity: 1, expected: euro(450), now: euro(500) },
          { productId: few.productId, quantity: 2, expected: euro(450), now: euro(450), available: 1 },
          { productId: gone.productId, quantity: 1, expected: euro(450) },
        ],
      },
    });
    expect(await stockOf(fine.productId)).toBe(9);
  });

  it("of a partner that the operator disabled, is refused with PARTNER_CLOSED", async () => {
    const partner = await shop.openPartner();
    const offer = await shop.product(partner.id);
    await shop.asAdmin("partners.update", { partnerId: partner.id, enabled: false });
    const refused = shop.bare("partners.reserve", reservationOf(partner, [lineOf(offer, 1)]));
    await expect(refused).rejects.toMatchObject({ type: "PARTNER_CLOSED" });
  });

  it("with the order id of another cart, is refused", async () => {
    const { wanted, offer } = await reserved(5, 1);
    const other = { ...wanted, lines: [lineOf(offer, 2)] };
    await expect(shop.bare("partners.reserve", other)).rejects.toMatchObject({
      type: "IDEMPOTENCY_MISMATCH",
    });
  });
});

describe("partners.release", () => {
  it("of a held reservation, returns the pieces once and refuses a later reserve", async () => {
    const { wanted, offer } = await reserved(5, 2);
    await shop.bare("partners.release", { orderId: wanted.orderId });
    await shop.bare("partners.release", { orderId: wanted.orderId });
    expect(await stockOf(offer.productId)).toBe(5);
    await expect(shop.bare("partners.reserve", wanted)).rejects.toMatchObject({ type: "CHECK_EXPIRED" });
  });

  it("before the reservation, makes the later reservation fail", async () => {
    const partner = await shop.openPartner();
    const offer = await shop.product(partner.id, { stock: 5 });
    const wanted = reservationOf(partner, [lineOf(offer, 2)]);
    await shop.bare("partners.release", { orderId: wanted.orderId });
    await expect(shop.bare("partners.reserve", wanted)).rejects.toMatchObject({ type: "CHECK_EXPIRED" });
    expect(await stockOf(offer.productId)).toBe(5);
  });
});

describe("reservations, by the state of the order", () => {
  it("paid, are committed and survive the sweeper", async () => {
    const { wanted, offer } = await reserved(5, 2);
    await shop.say("order.paid", orderOf(wanted));
    await eventually(async () => expect(await stateOf(wanted.orderId)).toBe("committed"));
    await expire(wanted.orderId);
    await sweepOver();
    expect(await stateOf(wanted.orderId)).toBe("committed");
    expect(await stockOf(offer.productId)).toBe(3);
  });

  it("expired, of a known order, are kept", async () => {
    const { wanted, offer } = await reserved(5, 2);
    await shop.say("order.created", orderOf(wanted, { version: 1, status: "pending" }));
    await eventually(async () => {
      const [found] = await shop.sql(
        "SELECT 1 FROM stock_reservations WHERE order_id = $1 AND order_version = 1",
        [wanted.orderId],
      );
      expect(found).toBeDefined();
    });
    await expire(wanted.orderId);
    await sweepOver();
    expect(await stockOf(offer.productId)).toBe(3);
    await shop.say("order.expired", orderOf(wanted, { version: 2, status: "expired" }));
    await eventually(async () => expect(await stockOf(offer.productId)).toBe(5));
  });

  it.each([
    ["paid", 5],
    ["preparing", 3],
    ["ready", 3],
  ] as const)("cancelled after %s, leave a stock of %d", async (previousStatus, expected) => {
    const { wanted, offer } = await reserved(5, 2);
    await shop.say("order.paid", orderOf(wanted));
    await eventually(async () => expect(await stateOf(wanted.orderId)).toBe("committed"));
    await shop.say("order.cancelled", orderOf(wanted, { version: 9, status: "cancelled", previousStatus }));
    await eventually(async () => {
      const [found] = await shop.sql(
        "SELECT 1 FROM stock_reservations WHERE order_id = $1 AND order_version = 9",
        [wanted.orderId],
      );
      expect(found).toBeDefined();
    });
    expect(await stockOf(offer.productId)).toBe(expected);
  });

  it("of a rejected order, return to the stock", async () => {
    const { wanted, offer } = await reserved(5, 2);
    await shop.say("order.paid", orderOf(wanted));
    await eventually(async () => expect(await stateOf(wanted.orderId)).toBe("committed"));
    const rejected = { version: 3, status: "cancelled", previousStatus: "paid" } as const;
    await shop.say("order.rejected", orderOf(wanted, rejected));
    await eventually(async () => expect(await stockOf(offer.productId)).toBe(5));
    expect(await stateOf(wanted.orderId)).toBe("released");
  });

  it("cancelled before the message about the payment, stay cancelled", async () => {
    const { wanted, offer } = await reserved(5, 2);
    const cancelled = { version: 3, status: "cancelled", previousStatus: "paid" } as const;
    await shop.say("order.cancelled", orderOf(wanted, cancelled));
    await eventually(async () => expect(await stockOf(offer.productId)).toBe(5));
    await shop.say("order.paid", orderOf(wanted, { version: 2 }));
    await eventually(async () => {
      const [{ done } = { done: 0 }] = await shop.sql<{ done: number }>(
        "SELECT count(*)::int AS done FROM inbox WHERE subject = $1 AND state = 'done'",
        [wanted.orderId],
      );
      expect(done).toBe(2);
    });
    expect(await stateOf(wanted.orderId)).toBe("released");
    expect(await stockOf(offer.productId)).toBe(5);
    expect(await shop.sql("SELECT 1 FROM webhook_messages WHERE order_id = $1", [wanted.orderId])).toEqual(
      [],
    );
  });

  it("paid after the sweep, take the pieces again, or raise an alert if there are too few", async () => {
    const enough = await reserved(5, 2);
    const tooFew = await reserved(2, 2);
    for (const { wanted } of [enough, tooFew])
      await shop.bare("partners.release", { orderId: wanted.orderId });
    const rival = reservationOf(tooFew.partner, [lineOf(tooFew.offer, 1)], { orderId: newId() });
    await shop.bare("partners.reserve", rival);
    for (const { wanted } of [enough, tooFew]) await shop.say("order.paid", orderOf(wanted));
    await eventually(async () => expect(await stateOf(tooFew.wanted.orderId)).toBe("committed"));
    await eventually(async () => expect(await stockOf(enough.offer.productId)).toBe(3));
    expect(await stockOf(tooFew.offer.productId)).toBe(1);
    await eventually(() =>
      expect(shop.said).toContainEqual(
        expect.objectContaining({
          type: "alert.raised",
          data: expect.objectContaining({ kind: "stock.oversold", subject: tooFew.wanted.orderId }),
        }),
      ),
    );
    const cancelled = { version: 9, status: "cancelled", previousStatus: "paid" } as const;
    await shop.say("order.cancelled", orderOf(tooFew.wanted, cancelled));
    await eventually(async () => expect(await stateOf(tooFew.wanted.orderId)).toBe("released"));
    expect(await stockOf(tooFew.offer.productId)).toBe(1);
  });
});

describe("an old message of an order", () => {
  /** These partners have no endpoint, so Orders gets at once the notice that the partner takes the order by hand. */
  const noticesOf = async (orderId: string) =>
    (
      await shop.sql("SELECT 1 FROM outbox WHERE subject = $1 AND data ->> 'outcome' = 'no_endpoint'", [
        orderId,
      ])
    ).length;
  const handled = (id: string) =>
    eventually(async () => {
      const [row] = await shop.sql<{ state: string }>("SELECT state FROM inbox WHERE message_id = $1", [id]);
      expect(row?.state).toBe("done");
    });

  it.each(["delivered", "cancelled", "expired", undefined] as const)(
    "with no stored reservation, takes no stock and notifies no partner if the order is %s",
    async (status) => {
      const partner = await shop.openPartner();
      const offer = await shop.product(partner.id, { stock: 5 });
      const paid = orderOf(reservationOf(partner, [lineOf(offer, 2)]));
      shop.orderIs(async () => status && { status, version: 9 });
      const { id } = await shop.say("order.paid", paid);
      await handled(id);
      expect(await stockOf(offer.productId)).toBe(5);
      expect(await noticesOf(paid.orderId)).toBe(0);
    },
  );

  it("with no stored reservation, takes the stock if the order is paid or in preparation", async () => {
    const partner = await shop.openPartner();
    const offer = await shop.product(partner.id, { stock: 5 });
    const paid = orderOf(reservationOf(partner, [lineOf(offer, 2)]));
    shop.orderIs(async () => ({ status: "paid", version: 3 }));
    await handled((await shop.say("order.paid", paid)).id);
    expect(await stockOf(offer.productId)).toBe(3);
    expect(await noticesOf(paid.orderId)).toBe(1);
    const begun = orderOf(reservationOf(partner, [lineOf(offer, 2)]));
    shop.orderIs(async () => ({ status: "preparing", version: 4 }));
    await handled((await shop.say("order.paid", begun)).id);
    expect(await stockOf(offer.productId)).toBe(1);
    expect(await noticesOf(begun.orderId)).toBe(0);
  });

  it("replayed as a dead letter after the order's cancellation, takes no stock and notifies no partner", async () => {
    const { wanted, offer } = await reserved(5, 2);
    await shop.bare("partners.release", { orderId: wanted.orderId });
    expect(await stockOf(offer.productId)).toBe(5);
    shop.orderIs(async () => {
      throw new Error("Orders is away");
    });
    const { id } = await shop.say("order.paid", orderOf(wanted));
    const letter = await eventually(async () => {
      await shop.sql(
        "UPDATE inbox SET attempts = 4, next_at = now() WHERE message_id = $1 AND lease_token IS NULL AND state = 'waiting'",
        [id],
      );
      const { items } = await shop.asAdmin("partners.deadLetters", {});
      const found = items.find(({ messageId }) => messageId === id);
      expect(found).toBeDefined();
      return found;
    });
    shop.orderIs(async () => ({ status: "cancelled", version: 3 }));
    await shop.asAdmin("partners.replayDeadLetter", { id: letter?.id ?? "" });
    await handled(id);
    expect(await stockOf(offer.productId)).toBe(5);
    expect(await noticesOf(wanted.orderId)).toBe(0);
  });
});

describe("an expired reservation", () => {
  it("of an existing order, is kept, even without any message of the order", async () => {
    const { wanted, offer } = await reserved(5, 2);
    shop.orderIs(async (orderId) =>
      orderId === wanted.orderId ? { status: "pending", version: 1 } : undefined,
    );
    await expire(wanted.orderId);
    await sweepOver();
    expect(await stateOf(wanted.orderId)).toBe("held");
    expect(await stockOf(offer.productId)).toBe(3);
    await shop.say("order.expired", orderOf(wanted, { version: 2, status: "expired" }));
    await eventually(async () => expect(await stockOf(offer.productId)).toBe(5));
  });

  it("that cannot be returned, raises an alert and does not delay others", async () => {
    const { wanted, offer } = await reserved(5, 2);
    shop.orderIs(async () => undefined);
    await shop.sql(
      `ALTER TABLE stock_reservations ADD CONSTRAINT poisoned CHECK (NOT (order_id = '${wanted.orderId}'
         AND state = 'released')) NOT VALID`,
    );
    await expire(wanted.orderId);
    await sweepOver();
    await eventually(() =>
      expect(shop.said).toContainEqual(
        expect.objectContaining({
          data: expect.objectContaining({
            ...{ kind: "reservation.failed", subject: wanted.orderId },
            detail: expect.stringContaining("poisoned"),
          }),
        }),
      ),
    );
    await shop.sql("ALTER TABLE stock_reservations DROP CONSTRAINT poisoned");
    await eventually(async () => expect(await stockOf(offer.productId)).toBe(5));
  });
});
