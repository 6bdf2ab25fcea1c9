import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Partner } from "../../contracts/partners.ts";
import { eventually } from "../support/eventually.ts";
import {
  alwaysOpen,
  euro,
  lineOf,
  orderOf,
  type PartnersHarness,
  reservationOf,
  samplePartner,
  startPartners,
} from "../support/partners.ts";

/* Guards that another guard hides, or that no other circumstance reaches. */

let shop: PartnersHarness;
beforeAll(async () => {
  shop = await startPartners();
});
afterAll(() => shop.stop());

async function wantedPieces(stock: number, quantity: number) {
  const partner = await shop.openPartner();
  const offer = await shop.product(partner.id, { stock });
  return { partner, offer, wanted: reservationOf(partner, [lineOf(offer, quantity)]) };
}

async function stockOf(productId: string): Promise<number | undefined> {
  const sql = "SELECT stock FROM availability WHERE product_id = $1";
  const [found] = await shop.sql<{ stock: number }>(sql, [productId]);
  return found?.stock;
}

describe("a reservation", () => {
  it("of an offer that became inactive after the check, is refused and takes nothing", async () => {
    const { partner, offer, wanted } = await wantedPieces(5, 2);
    await shop.asAdmin("partners.setAvailability", {
      ...{ partnerId: partner.id, productId: offer.productId, price: offer.price, active: false },
    });
    await expect(shop.bare("partners.reserve", wanted)).rejects.toMatchObject({
      type: "QUOTE_CHANGED",
      data: { lines: [{ productId: offer.productId, quantity: 2 }] },
    });
    expect(await stockOf(offer.productId)).toBe(5);
  });

  it("of a partner whose verification was withdrawn after the check, is refused and takes nothing", async () => {
    const { partner, offer, wanted } = await wantedPieces(5, 2);
    await shop.asAdmin("partners.update", { partnerId: partner.id, verified: false });
    await expect(shop.bare("partners.reserve", wanted)).rejects.toMatchObject({ type: "PARTNER_CLOSED" });
    expect(await stockOf(offer.productId)).toBe(5);
  });

  it("aborted by a deadlock, is retried and takes the pieces once", async () => {
    const { offer, wanted } = await wantedPieces(5, 2);
    await shop.sql("CREATE SEQUENCE broken_off");
    await shop.sql(`CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN
        IF nextval('broken_off') = 1 THEN RAISE 'deadlock detected' USING ERRCODE = '40P01'; END IF;
        RETURN NEW;
      END $$`);
    await shop.sql(`CREATE TRIGGER break_off BEFORE UPDATE ON availability
      FOR EACH ROW EXECUTE FUNCTION break_off()`);
    try {
      await shop.bare("partners.reserve", wanted);
      expect(await shop.sql("SELECT last_value::integer AS tries FROM broken_off")).toEqual([{ tries: 2 }]);
    } finally {
      await shop.sql("DROP FUNCTION break_off CASCADE");
    }
    expect(await stockOf(offer.productId)).toBe(3);
  });

  it("that fails for another reason than a deadlock, returns the error and is not retried", async () => {
    const { offer, wanted } = await wantedPieces(5, 2);
    const refused = `CHECK (order_id <> '${wanted.orderId}')`;
    await shop.sql(`ALTER TABLE stock_reservations ADD CONSTRAINT refused ${refused}`);
    try {
      await expect(shop.bare("partners.reserve", wanted)).rejects.toMatchObject({ code: "23514" });
    } finally {
      await shop.sql("ALTER TABLE stock_reservations DROP CONSTRAINT refused");
    }
    expect(await stockOf(offer.productId)).toBe(5);
  });

  it("that is committed, keeps its pieces when a late release arrives", async () => {
    const { offer, wanted } = await wantedPieces(5, 2);
    await shop.bare("partners.reserve", wanted);
    await shop.say("order.paid", orderOf(wanted));
    const state = () =>
      shop.sql("SELECT state FROM stock_reservations WHERE order_id = $1", [wanted.orderId]);
    await eventually(async () => expect(await state()).toEqual([{ state: "committed" }]));
    await shop.bare("partners.release", { orderId: wanted.orderId });
    expect(await state()).toEqual([{ state: "committed" }]);
    expect(await stockOf(offer.productId)).toBe(3);
  });
});

/** While `work` runs, no message of this type can be written. */
async function refusing(type: string, work: () => Promise<void>): Promise<void> {
  await shop.sql(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.type = '${type}' THEN RAISE 'refused'; END IF; RETURN NEW; END $$`);
  await shop.sql("CREATE TRIGGER refuse BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()");
  try {
    await work();
  } finally {
    await shop.sql("DROP FUNCTION refuse CASCADE");
  }
}

describe("an operator's change of a partner", () => {
  let partner: Partner;
  let productId: string;
  beforeAll(async () => {
    partner = await shop.openPartner();
    productId = (await shop.product(partner.id, { stock: 5 })).productId;
  });

  const url = "https://shop.example/hooks";
  const busyUntil = new Date(Date.now() + 3_600_000).toISOString();
  const own = () => ({ partnerId: partner.id });
  const offer = () => ({ ...own(), productId });
  const terms = { price: euro(475), active: true };
  const acts: [action: string, act: () => Promise<unknown>, detail: () => string | undefined][] = [
    ["partners.create", () => shop.asAdmin("partners.create", samplePartner()), () => undefined],
    ["partners.update", () => shop.asAdmin("partners.update", { ...own(), brand: "Oven" }), () => "brand"],
    [
      "partners.setHours",
      () => shop.asAdmin("partners.setHours", { ...own(), hours: alwaysOpen }),
      () => "timeZone, openingSpans",
    ],
    [
      "partners.setBusy",
      () => shop.asAdmin("partners.setBusy", { ...own(), busyUntil }),
      () => `until ${busyUntil}`,
    ],
    ["partners.createProduct", () => shop.product(partner.id, { title: "Bun" }), () => undefined],
    [
      "partners.updateProduct",
      () => shop.asAdmin("partners.updateProduct", { ...offer(), brand: "Mill" }),
      () => "brand",
    ],
    [
      "partners.setAvailability",
      () => shop.asAdmin("partners.setAvailability", { ...offer(), ...terms }),
      () => `of partner ${partner.id}`,
    ],
    [
      "partners.changeStock",
      () => shop.asAdmin("partners.changeStock", { ...offer(), change: 1 }),
      () => `of partner ${partner.id}`,
    ],
    [
      "partners.setWebhook",
      () => shop.asAdmin("partners.setWebhook", { ...own(), url, enabled: false }),
      () => "disabled",
    ],
    [
      "partners.rotateWebhookSecret",
      () => shop.asAdmin("partners.rotateWebhookSecret", own()),
      () => undefined,
    ],
    ["partners.testWebhook", () => shop.asAdmin("partners.testWebhook", own()), () => undefined],
    [
      "partners.deleteProduct",
      () => shop.asAdmin("partners.deleteProduct", offer()),
      () => `of partner ${partner.id}`,
    ],
  ];

  const stored = async () => {
    const tables = ["partners", "products", "availability", "webhook_messages"];
    const texts = tables.map((table) => shop.sql(`SELECT t::text AS row FROM ${table} t ORDER BY 1`));
    return await Promise.all(texts);
  };

  it("fails if its entry in the audit log cannot be written", async () => {
    const before = await stored();
    await refusing("audit.recorded", async () => {
      for (const [action, act] of acts) {
        if (action === "partners.rotateWebhookSecret" || action === "partners.testWebhook") continue;
        await expect(act()).rejects.toThrow();
      }
    });
    expect(await stored()).toEqual(before);
  });

  it.each([
    ["partner.updated", ["create", "update", "setHours", "setBusy", "setWebhook"]],
    [
      "availability.changed",
      ["createProduct", "updateProduct", "setAvailability", "changeStock", "deleteProduct"],
    ],
  ])("fails if the message %s cannot be written: %j", async (type, names) => {
    const before = await stored();
    await refusing(type, async () => {
      for (const [action, act] of acts) {
        if (names.includes(action.slice("partners.".length))) await expect(act()).rejects.toThrow();
      }
    });
    expect(await stored()).toEqual(before);
  });

  it.each(acts)("is recorded in the audit log with its detail: %s", async (action, act, detail) => {
    const seen = await shop.sql<{ id: string }>("SELECT id FROM outbox");
    await act();
    const [record, ...others] = await shop.sql<{ data: { action: string; detail?: string } }>(
      "SELECT data FROM outbox WHERE type = 'audit.recorded' AND id <> ALL ($1::uuid[])",
      [seen.map(({ id }) => id)],
    );
    expect(record?.data).toMatchObject({ action });
    expect([record?.data.detail, others]).toEqual([detail(), []]);
  });

  it("by staff, is not recorded in the audit log", async () => {
    const before = await shop.sql("SELECT id FROM outbox WHERE type = 'audit.recorded' ORDER BY id");
    const staff = { role: "partner", partnerId: partner.id } as const;
    await shop.as(staff, "partners.setBusy", own());
    expect(await shop.sql("SELECT id FROM outbox WHERE type = 'audit.recorded' ORDER BY id")).toEqual(before);
  });
});
