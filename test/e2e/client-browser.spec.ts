import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { OrderEvent, SessionTokens, Waybill, waybill } from "@waybill/client";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { newId } from "../../lib/ids.ts";
import { launchBrowser } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect } from "./client.ts";
import { admin, customer, type Kitchen, kitchen, order, type Person } from "./world.ts";

const TEST_TIMEOUT_MS = 180_000;
/** Far shorter than an order is followed here. */
const TIME_LIMIT_MS = 3_000;
const SOURCE = resolve(import.meta.dirname, "../../packages/client/src");
const OPENAPI_FETCH = resolve(import.meta.dirname, "../../node_modules/openapi-fetch/dist/index.mjs");

/** A front app's page: the client as a bundler would hand it over, in a browser that is some years old. */
const PAGE = `<!doctype html>
<script>
  Object.defineProperty(crypto, "randomUUID", { value: undefined });
  Object.defineProperty(AbortSignal, "any", { value: undefined });
</script>
<script type="importmap">{ "imports": { "openapi-fetch": "/app/openapi-fetch.js" } }</script>
<script type="module">
  import { waybill } from "/app/client/index.ts";
  window.waybill = waybill;
</script>`;

/** The globals of the test pages. */
interface App {
  waybill: typeof waybill;
  api: Waybill;
  told: OrderEvent[];
  ending: AbortController;
}
declare const window: App;

let api: Client;
let me: Person;
let shop: Kitchen;
let browser: Browser;
let context: BrowserContext;

beforeAll(async () => {
  api = await connect();
  me = await customer(api);
  shop = await kitchen(api, await admin(api), [{ price: 950 }]);
  browser = await launchBrowser();
  context = await browser.newContext();
  await context.route("**/app/**", async (route) => {
    const path = new URL(route.request().url()).pathname;
    if (path === "/app/") return route.fulfill({ contentType: "text/html", body: PAGE });
    const body = path.endsWith("openapi-fetch.js")
      ? readFileSync(OPENAPI_FETCH, "utf8")
      : stripTypeScriptTypes(readFileSync(resolve(SOURCE, path.slice("/app/client/".length)), "utf8"));
    return route.fulfill({ contentType: "text/javascript", body });
  });
}, TEST_TIMEOUT_MS);
afterAll(async () => {
  await browser?.close();
  await shop?.close();
});

async function tab(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${api.url}/app/`);
  await page.waitForFunction(() => Boolean(window.waybill));
  return page;
}

async function signedIn(): Promise<Page> {
  const page = await tab();
  await page.evaluate(
    async ({ url, email, password, timeoutMs }) => {
      window.api = window.waybill({ url, timeoutMs });
      await window.api.signIn({ email, password });
    },
    { ...me, url: api.url, timeoutMs: TIME_LIMIT_MS },
  );
  return page;
}

describe("the typed client, in a browser without crypto.randomUUID and AbortSignal.any", () => {
  it(
    "follows an order beyond the time limit until its end, and resumes after an event",
    async () => {
      const page = await signedIn();
      const { order_id: id } = await order(api, me, shop);
      const followed = page.evaluate(async (orderId) => {
        window.told = [];
        for await (const event of window.api.follow(orderId)) window.told.push(event);
        return window.told;
      }, id);
      await page.waitForFunction(() => window.told?.length === 1);
      await page.waitForTimeout(2 * TIME_LIMIT_MS);
      await page.evaluate(
        (orderId) =>
          window.api.POST("/orders/{order_id}/cancel", { params: { path: { order_id: orderId } }, body: {} }),
        id,
      );
      const moves = (events: OrderEvent[]) => events.map(({ data }) => "to" in data && data.to);
      expect(moves(await followed)).toEqual(["pending", "cancelled"]);

      const resumed = await page.evaluate(async (orderId) => {
        const [first] = window.told;
        const events = [];
        for await (const event of window.api.follow(orderId, { lastEventId: first?.id as string }))
          events.push(event);
        return events;
      }, id);
      expect(moves(resumed)).toEqual(["cancelled"]);
      await page.close();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    "stops following an order when its caller aborts",
    async () => {
      const page = await signedIn();
      const { order_id: id } = await order(api, me, shop);
      const left = page.evaluate(async (orderId) => {
        window.told = [];
        window.ending = new AbortController();
        try {
          for await (const event of window.api.follow(orderId, { signal: window.ending.signal }))
            window.told.push(event);
          return "ended";
        } catch (error) {
          return (error as Error).message;
        }
      }, id);
      await page.waitForFunction(() => window.told?.length === 1);
      await page.evaluate(() => window.ending.abort(new Error("left the page")));
      expect(await left).toBe("left the page");
      await page.close();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    "in a second tab with the same stored tokens, keeps the session of both",
    async () => {
      const [first, second] = [await tab(), await tab()];
      const start = (page: Page, email: string | undefined) =>
        page.evaluate(
          async ({ url, email, password }) => {
            const api = window.waybill({ url });
            window.api = api;
            const keep = (tokens: SessionTokens) => localStorage.setItem("tokens", JSON.stringify(tokens));
            api.onTokens(keep);
            if (email) await api.signIn({ email, password });
            else api.signedInWith(JSON.parse(localStorage.getItem("tokens") as string));
          },
          { url: api.url, email, password: me.password },
        );
      await start(first, me.email);
      await start(second, undefined);
      /** Has the tab believe that its access token ends now, so that its next request exchanges it. */
      const exchange = (page: Page) =>
        page.evaluate(async () => {
          const kept = JSON.parse(localStorage.getItem("tokens") as string);
          window.api.signedInWith({ ...kept, endsAtMs: 0 });
          await window.api.GET("/me");
        });
      const stale = await second.evaluate(() => localStorage.getItem("tokens") as string);
      await exchange(first);
      await exchange(first);
      // Two exchanges behind: this refresh token alone would end the session of both tabs.
      const name = await second.evaluate(async (tokens) => {
        window.api.signedInWith({ ...JSON.parse(tokens), endsAtMs: 0 });
        return (await window.api.GET("/me")).data?.first_name;
      }, stale);
      expect(name).toBe("Zoë");
      await Promise.all([exchange(first), exchange(second)]);
      const status = () => window.api.GET("/me").then(({ response }) => response.status);
      expect([await first.evaluate(status), await second.evaluate(status)]).toEqual([200, 200]);
      await Promise.all([first.close(), second.close()]);
    },
    TEST_TIMEOUT_MS,
  );

  it(
    "aborted during the wait before a retry, rejects at once; a conditional change without a response is sent once",
    async () => {
      const page = await signedIn();
      const sent: string[] = [];
      await page.route("**/api/v1/banks", (route) => {
        sent.push("GET /banks");
        return route.fulfill({ status: 503, headers: { "Retry-After": "10" }, json: { code: "overloaded" } });
      });
      const waiting = page.evaluate(async () => {
        window.ending = new AbortController();
        const asking = window.api.GET("/banks", { signal: window.ending.signal });
        return await asking.then(
          () => "answered",
          (error: Error) => error.message,
        );
      });
      await eventually(() => expect(sent).toEqual(["GET /banks"]));
      await page.evaluate(() => window.ending.abort(new Error("left the page")));
      expect(await waiting).toBe("left the page");
      expect(sent).toEqual(["GET /banks"]);

      // The platform performs it, and its answer is lost on the way.
      await page.route("**/api/v1/me", async (route) => {
        if (route.request().method() !== "PATCH") return route.continue();
        sent.push("PATCH /me");
        await route.fetch();
        return route.abort("connectionreset");
      });
      const name = `Zoë ${newId().slice(-4)}`;
      const code = await page.evaluate(async (firstName) => {
        const { response } = await window.api.GET("/me");
        const headers = { "If-Match": response.headers.get("ETag") as string };
        const changing = window.api.PATCH("/me", {
          params: { header: headers },
          body: { first_name: firstName },
        });
        return await changing.then(
          () => "changed",
          (error: { code: string }) => error.code,
        );
      }, name);
      expect(code).toBe("no_answer");
      expect(sent).toEqual(["GET /banks", "PATCH /me"]);
      expect(await api.ok("GET /me", me)).toMatchObject({ first_name: name });
      await page.close();
    },
    TEST_TIMEOUT_MS,
  );
});
