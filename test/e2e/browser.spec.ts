import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Browser, Page } from "playwright-core";
import { newId } from "../../lib/ids.ts";
import { launchBrowser } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect } from "./client.ts";
import {
  admin,
  type Confirmation,
  check,
  customer,
  kitchen,
  type Order,
  type Person,
  sandboxBank,
} from "./world.ts";

/** A busy machine draws the documentation page for half a minute. */
const STEP_TIMEOUT_MS = 90_000;
const TEST_TIMEOUT_MS = 180_000;

let api: Client;
let me: Person;
let browser: Browser;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  api = await connect();
  me = await customer(api);
  browser = await launchBrowser();
  page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  page.setDefaultTimeout(STEP_TIMEOUT_MS);
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
}, TEST_TIMEOUT_MS);
afterAll(async () => {
  await browser?.close();
});

describe("the documentation page", () => {
  it(
    "authorized with a customer's token, executes a call and shows its answer",
    async () => {
      await page.goto(`${api.url}/docs/`);
      await page.click("button.authorize");
      await page.fill(".auth-container input", me.token);
      await page.click(".auth-btn-wrapper button.authorize");
      await page.click(".auth-btn-wrapper .btn-done");

      const path = page.locator('.opblock-summary-path[data-path="/me"]');
      const profile = page.locator(".opblock-get", { has: path });
      await profile.locator(".opblock-summary-control").click();
      await profile.locator("button.execute").click();
      const answer = profile.locator(".live-responses-table tbody");
      await answer.locator(".response-col_status", { hasText: "200" }).waitFor();

      expect(await answer.textContent()).toContain(me.email);
      expect(complaints).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );
});

describe("the checkout page", () => {
  it(
    "of a pending order, declines without taking money, then takes it",
    async () => {
      const shop = await kitchen(api, await admin(api), [{ price: 950 }]);
      const { check_id } = await check(api, me, shop, [1]);
      const body = { check_id, bank_id: await sandboxBank(api, me) };
      const order = await api.ok<Confirmation>("POST /orders/confirm", { ...me, key: newId(), body });
      const paymentStatus = async () =>
        (await api.ok<Order>(`GET /orders/${order.order_id}`, me)).payment_status;

      await page.goto(order.checkout_url);
      await page.getByRole("button", { name: "Decline" }).click();
      await page.getByText("The payment was declined.").waitFor();
      expect(await paymentStatus()).toBe("unpaid");

      await page.getByRole("button", { name: /^Pay EUR/ }).click();
      await page.getByRole("heading", { name: "Thank you" }).waitFor();
      await eventually(async () => expect(await paymentStatus()).toBe("paid"));
      await shop.close();
      expect(complaints).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );
});
