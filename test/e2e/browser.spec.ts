import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Browser, Page, Request } from "playwright-core";
import sharp from "sharp";
import { newId } from "../../lib/ids.ts";
import { launchBrowser } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { mailSamples } from "../support/mail-samples.ts";
import { READABILITY, type Readability } from "../support/readability.ts";
import { type Client, connect } from "./client.ts";
import {
  admin,
  type Confirmation,
  check,
  customer,
  kitchen,
  mailed,
  type Order,
  PASSWORD,
  type Person,
  sandboxBank,
  signIn,
} from "./world.ts";

/** A busy machine draws the documentation page for half a minute. */
const STEP_TIMEOUT_MS = 90_000;
const TEST_TIMEOUT_MS = 180_000;
const NEW_PASSWORD = "a quite different lamp post";
/** The pictures of the documentation, by sample, and how each is taken. */
const pictures: Readonly<Record<string, string>> = {
  "mail-order-paid": "light 760",
  "mail-courier": "dark 360",
  "mail-cancelled": "dark 760",
  "mail-invitation": "light 360",
};

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

      const { tracking_token } = await api.ok<Order>(`GET /orders/${order.order_id}`, me);
      await page.goto(`${api.url}/track#${tracking_token}`);
      await page.locator("#states p:not([hidden])", { hasText: /^It is paid|is preparing it/ }).waitFor();
      await shop.close();
      expect(complaints).toEqual([]);
      await page.goto(`${api.url}/track#wrong`);
      await page.reload();
      await page.getByText("This order is not shown any more.").waitFor();
      expect(complaints.splice(0)).toEqual([expect.stringContaining("404")]);
    },
    TEST_TIMEOUT_MS,
  );
});

describe("the pages that mails link to", () => {
  it(
    "accept an invitation, and set a forgotten password, with what the links contain",
    async () => {
      const email = `${newId()}@staff.example`;
      const token = await admin(api);
      await api.ok("POST /invitations", { token, key: newId(), body: { email, role: "deliverer" } });
      await page.goto(await mailed(api, email, /^(\S+\/invitations\/accept#\S+)/m));
      await page.getByLabel("First name").fill("Dora");
      await page.getByLabel("Password").fill(PASSWORD);
      await page.getByRole("button", { name: "Accept" }).click();
      await page.getByText("Done. You can sign in now.").waitFor();
      await signIn(api, email);

      await api.ok("POST /password/forgot", { body: { email } });
      await page.goto(await mailed(api, email, /^(\S+\/password\/reset#\S+)/m));
      expect(await page.getByLabel("E-mail address").inputValue()).toBe(email);
      await page.getByLabel("Password").fill(NEW_PASSWORD);
      await page.getByRole("button", { name: "Set the password" }).click();
      await page.getByText("Done. You can sign in with the new password.").waitFor();
      await signIn(api, email, NEW_PASSWORD);
      expect(complaints).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );
});

describe("mails", () => {
  it.each(Object.entries(mailSamples))(
    "%s, light and dark, narrow and wide, is readable and loads nothing",
    async (name, { html }) => {
      const loaded: string[] = [];
      const note = (request: Request) => loaded.push(request.url());
      page.on("request", note);
      for (const colorScheme of ["light", "dark"] as const) {
        for (const width of [360, 760]) {
          await page.setViewportSize({ width, height: 400 });
          await page.emulateMedia({ colorScheme });
          await page.setContent(html);
          const { texts, buttonHeight, ...faults } = await page.evaluate<Readability>(READABILITY);
          expect({ colorScheme, width, ...faults }).toEqual({
            ...{ colorScheme, width, faint: [], wide: [], scrolls: false, isDark: colorScheme === "dark" },
          });
          expect(texts).toBeGreaterThan(6);
          expect(buttonHeight).toBeGreaterThanOrEqual(44);
          if (pictures[name] === `${colorScheme} ${width}`) await draw(name);
        }
      }
      page.off("request", note);
      expect(loaded).toEqual([]);
    },
    TEST_TIMEOUT_MS,
  );

  /** `MAIL_PICTURES=docs/images` makes the pictures of docs/notifications.md again. */
  async function draw(name: string): Promise<void> {
    const folder = process.env.MAIL_PICTURES;
    if (!folder) return;
    const image = await page.screenshot({ fullPage: true });
    await sharp(image)
      .png({ palette: true, colours: 32 })
      .toFile(join(folder, `${name}.png`));
  }
});
