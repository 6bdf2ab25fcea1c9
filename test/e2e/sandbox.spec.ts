import { execFile } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "@jest/globals";
import { answered, type Waybill, waybill } from "@waybill/client";
import { newId } from "../../lib/ids.ts";
import { sandboxPartners } from "../../sandbox/catalogue.ts";
import { dayPlan, shops } from "../../sandbox/day/plan.ts";
import { sandboxCustomer } from "../../sandbox/people.ts";
import { eventually } from "../support/eventually.ts";
import { platform, type TestPlatform } from "../support/platform.ts";
import { connect } from "./client.ts";
import { admin, home, kitchen, type Order, readyOrder, customer as someCustomer } from "./world.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const DEMO_TIMEOUT_MS = 60_000;

let places: TestPlatform;
let customer: Waybill;

beforeAll(async () => {
  places = await platform();
  customer = await newCustomer();
});

/** Signs up by the mailed code, like any user. */
async function newCustomer(): Promise<Waybill> {
  const email = `${newId()}@customers.example`;
  const password = "correct-horse-battery";
  const person = { email, password, first_name: "Zoë", last_name: "Brandt" };
  const me = waybill({ url: places.url });
  await me.POST("/users", { body: person });
  const code = await eventually(async () => {
    const mails = (await (await fetch(`${places.sandboxUrl}/mailbox.json?to=${email}`)).json()) as {
      text: string;
    }[];
    const found = /\b\d{6}\b/.exec(mails[0]?.text ?? "")?.[0];
    if (!found) throw new Error("no code yet");
    return found;
  });
  await me.POST("/users/confirm", { body: { email, code } });
  await me.signIn({ email, password });
  return me;
}

/** An order that waits for its payment. */
async function newOrder(note?: string) {
  const { items: partners } = await answered(
    customer.GET("/partners", { params: { query: { limit: 100 } } }),
  );
  const partner_id = partners.find(({ title }) => title === sandboxPartners[1]?.fields.title)?.id ?? "";
  const query = { partner_id, limit: 1 };
  const { items: offers } = await answered(customer.GET("/products", { params: { query } }));
  const { items: banks } = await answered(customer.GET("/banks"));
  const body = {
    partner_id,
    lines: [{ product_id: offers[0]?.product_id ?? "", quantity: 1 }],
    address: { line1: "Kastanienallee 77", city: "Berlin", postal_code: "10435", country: "DE" },
    ...(note && { note }),
  };
  const { check_id } = await answered(customer.POST("/orders/check", { body }));
  const bank_id = banks[0]?.id ?? "";
  return answered(customer.POST("/orders/confirm", { body: { check_id, bank_id } }));
}

const press = (url: string, fields: Record<string, string>) =>
  fetch(url, { method: "POST", body: new URLSearchParams(fields) });

const orderAs = (id: string, expected: object) =>
  eventually(async () => {
    const order = await answered(customer.GET("/orders/{order_id}", { params: { path: { order_id: id } } }));
    expect(order).toMatchObject(expected);
    return order;
  });

describe("the sandbox around a platform", () => {
  it(
    "npm run demo runs an order to delivered, prints it, and exits with 0",
    async () => {
      const run = promisify(execFile)(process.execPath, ["platform/commands/demo.ts"], {
        cwd: root,
        env: { ...process.env, DATA_DIR: places.dataDir },
      });
      const { stdout } = await run;
      expect(stdout).toMatch(/^Delivered: order [0-9a-f-]{36} in \d/m);
      expect(stdout).not.toContain("\u001b");
      const tooLong = stdout.split("\n").filter((line) => [...line].length > 80 && !line.includes("http"));
      expect(tooLong).toEqual([]);
    },
    DEMO_TIMEOUT_MS,
  );

  it(
    "npm run seed creates orders in all states for the sandbox's customer, prints a line for each, and exits with 0",
    async () => {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ["platform/commands/seed.ts", "--orders", "10"],
        { cwd: root, env: { ...process.env, DATA_DIR: places.dataDir } },
      );
      const tooLong = stdout.split("\n").filter((line) => [...line].length > 80 && !line.includes("http"));
      expect(tooLong).toEqual([]);
      const carla = waybill({ url: places.url });
      await carla.signIn(sandboxCustomer);
      const { items } = await answered(carla.GET("/orders", { params: { query: { limit: 100 } } }));
      const lines = stdout.match(/^ {2}…[0-9a-f]{6} .*$/gm) ?? [];
      const said = lines.map((line) => [line.slice(3, 9), line.slice(11, 31).trim()] as const);
      const states = said.map(([end, fate]) => [fate, items.find(({ id }) => id.endsWith(end))?.status]);
      expect(states.sort()).toEqual([
        ["cancelled", "cancelled"],
        ...Array.from({ length: 5 }, () => ["delivered", "delivered"]),
        ["on its way", "delivering"],
        ["payment declined", "pending"],
        ["rejected, refunded", "cancelled"],
        ["unpaid", "pending"],
      ]);
    },
    DEMO_TIMEOUT_MS,
  );

  it(
    "npm run day plays a day with orders by hand and by webhook, prints a line for each, and exits with 0",
    async () => {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ["platform/commands/day.ts", "--seed", "3", "--customers", "5"],
        { cwd: root, env: { ...process.env, DATA_DIR: places.dataDir } },
      );
      expect(stdout.split("\n").filter((line) => [...line].length > 80 && !line.includes("http"))).toEqual(
        [],
      );
      const lines = stdout.split("\n").filter((line) => /^ \d\d:\d\d /.test(line));
      const ends = dayPlan(3, 5).map(({ turn, shop }) => {
        const isEnded = turn === "rejected" || turn === "cancelled";
        return [shops[shop]?.byHand ? "hand" : "webhook", isEnded ? turn : "delivered"];
      });
      expect(
        lines.map((line) => [
          /hand|webhook/.exec(line)?.[0],
          /rejected|cancelled/.exec(line)?.[0] ?? "delivered",
        ]),
      ).toEqual(ends);
      expect(stdout).toMatch(/^Paid to accepted, by webhook: +median \d+\.\d s, longest \d+\.\d s$/m);
      expect(stdout).toMatch(/^5 orders: 3 delivered, 1 rejected, 1 cancelled$/m);
    },
    DEMO_TIMEOUT_MS,
  );

  it.each([["0"], ["101"], ["many"]])("npm run seed with %s orders prints its usage", async (orders) => {
    const run = promisify(execFile)(process.execPath, ["platform/commands/seed.ts", "--orders", orders], {
      cwd: root,
    });
    await expect(run).rejects.toMatchObject({ code: 64, stderr: "npm run seed -- --orders <1 to 100>\n" });
  });

  it.each(["demo", "seed", "day"])(
    "npm run %s, without a platform on DATA_DIR, prints that and exits with 69, even if another platform runs",
    async (name) => {
      // A platform that was killed leaves its addresses behind; another one has them now.
      const dataDir = mkdtempSync(join(tmpdir(), "killed-"));
      copyFileSync(join(places.dataDir, "platform.json"), join(dataDir, "platform.json"));
      const { port } = new URL(places.url);
      const { port: sandboxPort } = new URL(places.sandboxUrl);
      const env = { ...process.env, DATA_DIR: dataDir, PORT: port, SANDBOX_PORT: sandboxPort };
      const run = promisify(execFile)(process.execPath, [`platform/commands/${name}.ts`], { cwd: root, env });
      await expect(run).rejects.toMatchObject({
        code: 69,
        stdout: "",
        stderr: `no platform runs on ${dataDir}: npm start\n`,
      });
      rmSync(dataDir, { recursive: true });
    },
  );

  it("the courier is assigned orders of the sandbox's partners only, not of another partner in the same city", async () => {
    const api = await connect();
    const boss = await admin(api);
    const shop = await kitchen(api, boss);
    const { city, postal_code, country } = sandboxPartners[0]?.fields.address ?? home;
    const body = { address: { line1: "Kastanienallee 1", city, postal_code, country } };
    await api.ok(`PATCH /partners/${shop.partnerId}`, { token: boss, body });
    const other = await readyOrder(api, await someCustomer(api), shop);
    // The other order has waited longer, so it stands first in the pool.
    const { order_id: id, checkout_url: url } = await newOrder();
    await press(url, { action: "pay" });
    await orderAs(id, { status: "delivering" });
    const seen = await api.ok<Order>(`GET /orders/${other.order_id}`, { token: boss });
    expect(seen.status).toBe("ready");
    await shop.close();
  });

  it("an order that the kitchen declines is cancelled, and the bank's page shows the refund", async () => {
    const { order_id: id, checkout_url: url } = await newOrder("Please reject.");
    await press(url, { action: "pay" });
    const order = await orderAs(id, { status: "cancelled", payment_status: "refunded" });
    expect(order.refunded).toEqual(order.paid);
    expect(await (await fetch(url)).text()).toContain("went back");
  });

  it("an order that is paid twice: the second payment is refunded", async () => {
    const { order_id: id, checkout_url: url } = await newOrder();
    await press(url, { action: "pay_twice" });
    const order = await orderAs(id, {
      payment_status: expect.stringMatching(/^(?:paid|partially_refunded)$/),
    });
    await eventually(async () => expect(await (await fetch(url)).text()).toContain("went back"));
    expect(["paid", "preparing", "ready", "delivering"]).toContain(order.status);
  });

  it("an order that is underpaid waits for the rest", async () => {
    const { order_id: id, checkout_url: url } = await newOrder();
    await press(url, { action: "decline" });
    await press(url, { action: "underpay", amount: "1.00" });
    await orderAs(id, { status: "pending", payment_status: "partially_paid" });
    await press(url, { action: "pay" });
    await orderAs(id, { payment_status: "paid" });
  });
});
