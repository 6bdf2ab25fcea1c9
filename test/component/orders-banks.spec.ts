import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { decrypt } from "../../lib/encryption.ts";
import { newId } from "../../lib/ids.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import type { Bank } from "../../providers/banks/index.ts";
import { banks } from "../../services/orders/actions/banks.ts";
import type { OrdersDependencies } from "../../services/orders/dependencies.ts";
import { processRefunds } from "../../services/orders/workers/refunds.ts";
import { type OrdersHarness, ordersSettings, startOrders } from "../support/orders-service.ts";
import { paymentOf } from "../support/payments.ts";
import { createDatabase, openPool } from "../support/postgres.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

const secret = `whsec_${"E".repeat(43)}=`;
const wanted = () => ({
  title: "Bank of the tests",
  adapter: "sandbox" as const,
  settings: { apiKey: "key-that-nobody-sees", webhookSecret: secret },
  webcheckoutUrl: shop.bankUrl,
  active: true,
});
const settingsOf = async (id: string) =>
  (await shop.sql<{ settings: string }>("SELECT settings FROM banks WHERE id = $1", [id]))[0]
    ?.settings as string;
const customer = () => ({ id: newId(), role: "customer" }) as const;

describe("banks", () => {
  it("orders.createBank encrypts the settings for this row and never returns them", async () => {
    const bank = await shop.as(shop.admin, "orders.createBank", wanted());
    expect(bank).toEqual({
      id: bank.id,
      title: "Bank of the tests",
      adapter: "sandbox",
      active: true,
      webcheckoutUrl: shop.bankUrl,
      version: 1,
    });
    const sealed = await settingsOf(bank.id);
    expect(sealed).not.toContain("key-that-nobody-sees");
    const keys = { secret: ordersSettings("").SEAL_SECRET };
    expect(JSON.parse(decrypt(sealed, keys, `banks/${bank.id}`))).toEqual(wanted().settings);
    expect(() => decrypt(sealed, keys, `banks/${newId()}`)).toThrow();
    const [dump] = await shop.sql<{ text: string }>(
      "SELECT coalesce(string_agg(t::text, ''), '') AS text FROM (SELECT data::text AS t FROM outbox) x",
    );
    expect(dump?.text).not.toContain("key-that-nobody-sees");
  });

  it("orders.createBank, repeated with one Idempotency-Key, creates one bank", async () => {
    const key = { key: newId(), bodyHash: "a".repeat(64) };
    const first = await shop.as(shop.admin, "orders.createBank", wanted(), key);
    await expect(shop.as(shop.admin, "orders.createBank", wanted(), key)).resolves.toEqual(first);
  });

  it("orders.createBank, with invalid settings, is refused without their values in the error", async () => {
    for (const settings of [
      { apiKey: "only-this-one" },
      { ...wanted().settings, webhookSecret: "not-a-secret" },
    ]) {
      const error = await shop.as(shop.admin, "orders.createBank", { ...wanted(), settings } as never).then(
        () => undefined,
        (thrown) => thrown,
      );
      expect(error).toMatchObject({ type: "VALIDATION_ERROR", data: { errors: [{ field: "settings" }] } });
      expect(JSON.stringify([error.message, error.data])).not.toMatch(/only-this-one|not-a-secret/);
    }
  });

  it("orders.updateBank changes the given fields only, and checks the version", async () => {
    const { id: bankId } = await shop.as(shop.admin, "orders.createBank", wanted());
    const sealed = await settingsOf(bankId);
    const renamed = await shop.as(shop.admin, "orders.updateBank", {
      bankId,
      expectedVersion: 1,
      title: "Renamed",
    });
    expect(renamed).toMatchObject({ title: "Renamed", active: true, version: 2 });
    expect(await settingsOf(bankId)).toBe(sealed);
    const stale = shop.as(shop.admin, "orders.updateBank", { bankId, expectedVersion: 1, active: false });
    await expect(stale).rejects.toMatchObject({ type: "PRECONDITION_FAILED" });
    const missing = shop.as(shop.admin, "orders.updateBank", { bankId: newId(), active: false });
    await expect(missing).rejects.toMatchObject({ type: "NOT_FOUND" });
    // Over gRPC a map that is not given comes as an empty one.
    expect(await shop.as(shop.admin, "orders.updateBank", { bankId })).toEqual(renamed);
    expect(await shop.as(shop.admin, "orders.updateBank", { bankId, settings: {} })).toEqual(renamed);
    const nothing = shop.as(shop.admin, "orders.updateBank", { bankId, expectedVersion: 1 });
    await expect(nothing).rejects.toMatchObject({ type: "PRECONDITION_FAILED" });
  });

  it("orders.updateBank, with a new secret, makes reports signed by the old one invalid", async () => {
    const bank = await shop.as(shop.admin, "orders.createBank", wanted());
    const data = () => ({ payment_id: newId(), order_id: newId(), amount_minor: 1, currency: "EUR" });
    await shop.report({ data: data() }, { bankId: bank.id, secret });
    const next = `whsec_${"F".repeat(43)}=`;
    const settings = { ...wanted().settings, webhookSecret: next };
    await shop.as(shop.admin, "orders.updateBank", { bankId: bank.id, settings });
    await expect(shop.report({ data: data() }, { bankId: bank.id, secret })).rejects.toMatchObject({
      type: "BAD_SIGNATURE",
    });
    await expect(shop.report({ data: data() }, { bankId: bank.id, secret: next })).resolves.toEqual({});
  });

  it("orders.listBanks returns active banks to customers and all banks to operators", async () => {
    const { id } = await shop.as(shop.admin, "orders.createBank", { ...wanted(), active: false });
    const idsFor = async (who: object) =>
      (await shop.as(who, "orders.listBanks", {})).items.map((bank) => bank.id);
    expect(await idsFor(customer())).not.toContain(id);
    expect(await idsFor(shop.admin)).toContain(id);
  });

  it("can be created and changed by operators only", async () => {
    for (const role of ["customer", "deliverer", "partner"] as const) {
      const who = { id: newId(), role, partnerId: newId() };
      await expect(shop.as(who, "orders.createBank", wanted())).rejects.toMatchObject({ type: "FORBIDDEN" });
      const change = shop.as(who, "orders.updateBank", { bankId: shop.bankId, active: false });
      await expect(change).rejects.toMatchObject({ type: "FORBIDDEN" });
    }
  });

  it("that are inactive now, can still report earlier payments", async () => {
    const { id: bankId } = await shop.as(shop.admin, "orders.createBank", wanted());
    await shop.as(shop.admin, "orders.updateBank", { bankId, active: false });
    const data = { payment_id: newId(), order_id: newId(), amount_minor: 1, currency: "EUR" };
    await expect(shop.report({ data }, { bankId, secret })).resolves.toEqual({});
  });
});

describe("a forged bank callback", () => {
  it("is refused with the same response for every reason, and stores nothing", async () => {
    const order = await shop.confirmed();
    const data = paymentOf(order);
    const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);
    const forged = [
      shop.report({ data }, { secret: `whsec_${"D".repeat(43)}=` }),
      shop.report({ data }, { at: minutesAgo(6) }),
      shop.report({ data }, { at: minutesAgo(-6) }),
      shop.report({ data }, { headers: { "webhook-signature": "" } }),
      shop.report({ data }, { headers: { "webhook-id": "another" } }),
      shop.report({ data }, { headers: { "webhook-timestamp": "1e9" } }),
      shop.report({ data }, { bankId: newId() }),
      shop.bare("orders.receivePayment", {
        bankId: shop.bankId,
        headers: {},
        body: JSON.stringify({ data }),
      }),
    ];
    const refusals = await Promise.allSettled(forged);
    const answers = refusals.map((one) => {
      const { type, code, message, data: facts } = (one as PromiseRejectedResult).reason;
      return { type, code, message, facts };
    });
    expect(new Set(answers.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(answers[0]).toMatchObject({ type: "BAD_SIGNATURE", code: 401 });
    expect(await shop.get(order)).toMatchObject({ status: "pending", version: 1 });
    const kept = await shop.sql("SELECT 1 FROM payment_events WHERE payment_id = $1", [data.payment_id]);
    expect(kept).toEqual([]);
  });
});

describe("the registry of banks", () => {
  it("opens each version of a bank once, and reads the newest when the seen one does not work", async () => {
    const { id } = await shop.as(shop.admin, "orders.createBank", wanted());
    const db = openPool(shop, 1);
    const registry = banks({
      postgres: { db } as Postgres,
      keys: { secret: ordersSettings("").SEAL_SECRET },
    });
    const first = await registry.find(id);
    expect((await registry.find(id))?.connect()).toBe(first?.connect());
    await shop.as(shop.admin, "orders.updateBank", { bankId: id, title: "Another title" });
    const second = await registry.find(id, first?.version);
    expect(second).toMatchObject({ title: "Another title", version: 2 });
    expect(second?.connect()).not.toBe(first?.connect());
    expect(await registry.find(id)).toMatchObject({ version: 2 });
    await db.close();
  });
});

describe("a refund without a response, at a bank that cannot look it up", () => {
  it("is not repeated and raises an alert", async () => {
    const database = await createDatabase("orders");
    const db = openPool(database, 2);
    const [bankId, orderId, refundId] = [newId(), newId(), newId()];
    await db.query(
      `INSERT INTO banks (id, title, adapter, settings, webcheckout_url, active)
       VALUES (:bankId, 'Blind', 'sandbox', '', '', true)`,
      { bankId },
    );
    await db.query(
      `INSERT INTO orders (id, version, status, payment_status, customer_id, customer_name, partner_id, partner,
         currency, fee_minor, total_minor, paid_minor, refund_pending_minor, address, bank_id, pay_by, closed_at,
         created_at, updated_at)
       VALUES (:orderId, 3, 'cancelled', 'refund_pending', :orderId, 'Ada', :orderId, '{}', 'EUR', 0, 100, 100, 100, '{}',
         :bankId, now(), now(), now(), now())`,
      { orderId, bankId },
    );
    await db.query(
      `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, order_id, stated_order, amount_minor, currency,
         outcome, refund_minor)
       VALUES (:orderId, :bankId, 'p', 'e', :orderId, '', 100, 'EUR', 'accepted', 100)`,
      { orderId, bankId },
    );
    // As a worker that was killed leaves it.
    await db.query(
      `INSERT INTO refunds (id, order_id, bank_id, payment_id, amount_minor, currency, reason, state)
       VALUES (:refundId, :orderId, :bankId, 'p', 100, 'EUR', 'cancelled', 'sent')`,
      { refundId, orderId, bankId },
    );
    const asked: string[] = [];
    const blind: Bank = {
      openCheckout: async () => ({ checkoutUrl: "http://bank.example" }),
      verify: () => ({ kind: "refused", reason: "unsigned" }),
      findPayments: async () => [],
      async refund(request) {
        asked.push(request.refundId);
        return { state: "completed" };
      },
    };
    const told: string[] = [];
    const deps = {
      postgres: { db, transact: db.transaction.bind(db) },
      outbox: { add: async (_: unknown, messages: unknown) => void told.push(JSON.stringify(messages)) },
      banks: { find: async () => ({ connect: () => blind }) },
    } as unknown as OrdersDependencies;
    const ignored = () => undefined;
    const warn = (...text: unknown[]) => void told.push(text.join(" "));
    const logger = { debug: ignored, info: ignored, warn, error: ignored };
    await processRefunds(deps, logger);
    await processRefunds(deps, logger);
    const { rows } = await db.query("SELECT state, error, attempts FROM refunds");
    expect(rows).toEqual([{ state: "unknown", error: "the bank cannot say what became of it", attempts: 1 }]);
    expect(asked).toEqual([]);
    expect(told).toHaveLength(1);
    expect(told[0]).toContain("refund.stuck");
    await db.close();
    await database.drop();
  });
});
