import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { actions } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import { fail } from "../../contracts/errors.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

const TEN_MINUTES_MS = 600_000;

let gateway: TestGateway;
let customerId: string;
let authorization: string;

beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());
beforeEach(async () => {
  await gateway.reset();
  customerId = newId();
  authorization = `Bearer ${await gateway.identity.token({ id: customerId })}`;
});

const cart = {
  partner_id: newId(),
  lines: [{ product_id: newId(), quantity: 1 }],
  address: { line1: "Unter den Linden 1", city: "Berlin", postal_code: "10117", country: "DE" },
};

async function post(path: string, body: object, headers: Record<string, string> = {}) {
  const response = await fetch(`${gateway.url}/api/v1${path}`, {
    method: "POST",
    headers: {
      Authorization: authorization,
      "Content-Type": "application/json",
      "Idempotency-Key": newId(),
      ...headers,
    },
    body: JSON.stringify(body),
  });
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as Record<string, unknown>,
  };
}

/** Has Partners quote a cart, and checks it. */
async function check(expiresAtMs = Date.now() + TEN_MINUTES_MS): Promise<string> {
  const checkId = newId();
  const quote = exampleOf(actions["partners.check"].result) as object;
  gateway.on("partners.check", () => ({ ...quote, checkId, expiresAt: isoTime(expiresAtMs) }));
  expect(await post("/orders/check", cart)).toMatchObject({ status: 200, body: { check_id: checkId } });
  return checkId;
}

function called(action: string) {
  return gateway.calls.filter((one) => one.action === action);
}

describe("checkout at the gateway", () => {
  const bank_id = newId();

  it("confirming a check, passes the stored quote and the customer's own profile to Orders", async () => {
    const check_id = await check();
    gateway.on("identity.profile", () => ({
      ...(exampleOf(actions["identity.profile"].result) as object),
      firstName: "Zoë",
      lastName: "O’Brien",
    }));
    const { status, headers, body } = await post("/orders/confirm", { check_id, bank_id });
    expect(status).toBe(201);
    expect(headers.get("location")).toBe(`/api/v1/orders/${body.order_id}`);
    expect(called("orders.confirm")[0]?.params).toMatchObject({
      bankId: bank_id,
      quote: { checkId: check_id },
      customer: { id: customerId, name: "Zoë O’Brien" },
    });
  });

  it("confirming, gives all its calls together the timeout of one request", async () => {
    const check_id = await check();
    const timeouts: number[] = [];
    const answer = (name: "identity.profile" | "orders.confirm") =>
      gateway.on(name, ({ options }) => {
        timeouts.push(options.timeout as number);
        return exampleOf(actions[name].result);
      });
    answer("identity.profile");
    answer("orders.confirm");
    expect((await post("/orders/confirm", { check_id, bank_id })).status).toBe(201);
    const [profile = 0, confirm = 0] = timeouts;
    expect(profile).toBeLessThan(gateway.broker.options.requestTimeout as number);
    expect(confirm).toBeLessThan(profile);
  });

  it("confirming, stores the quote for as long as the confirmation may be repeated", async () => {
    const checkId = await check();
    const cacher = gateway.broker.cacher as NonNullable<typeof gateway.broker.cacher>;
    const seconds: unknown[] = [];
    const set = cacher.set.bind(cacher);
    cacher.set = (key, data, ttl) => {
      if (key.startsWith("check:")) seconds.push(ttl);
      return set(key, data, ttl);
    };
    try {
      expect(await post("/orders/confirm", { check_id: checkId, bank_id })).toMatchObject({ status: 201 });
    } finally {
      cacher.set = set;
    }
    expect(seconds).toEqual([86_400]);
  });

  it("confirming another customer's check, answers CHECK_EXPIRED", async () => {
    const check_id = await check();
    gateway.on("orders.reopenCheckout", () => {
      throw fail("CHECK_EXPIRED");
    });
    authorization = `Bearer ${await gateway.identity.token({ id: newId() })}`;
    expect(await post("/orders/confirm", { check_id, bank_id })).toMatchObject({
      status: 409,
      body: { code: "check_expired" },
    });
    expect(called("orders.confirm")).toEqual([]);
  });

  it("confirming again, calls Orders again, which returns the same answer", async () => {
    const check_id = await check();
    const first = await post("/orders/confirm", { check_id, bank_id });
    const second = await post("/orders/confirm", { check_id, bank_id });
    expect(second.body).toEqual(first.body);
    expect(called("orders.confirm")).toHaveLength(2);
  });

  it("confirming again after a loss of the cache, returns the order of this check", async () => {
    const check_id = await check();
    await post("/orders/confirm", { check_id, bank_id });
    await gateway.broker.cacher?.clean();
    gateway.on("orders.reopenCheckout", ({ params }) => {
      if ((params as { bankId: string }).bankId !== bank_id) throw fail("CHECK_USED");
      return {
        orderId: check_id,
        status: "pending",
        checkoutUrl: "https://bank.example/checkout/1",
        callbackUrl: `http://waybill.test/api/v1/webhooks/payments/${bank_id}`,
        payBy: "2030-01-01T00:00:00Z",
      };
    });
    expect(await post("/orders/confirm", { check_id, bank_id })).toMatchObject({
      status: 201,
      body: {
        order_id: check_id,
        status: "pending",
        checkout_url: "https://bank.example/checkout/1",
        callback_url: `http://waybill.test/api/v1/webhooks/payments/${bank_id}`,
        pay_by: "2030-01-01T00:00:00Z",
      },
    });
    expect(await post("/orders/confirm", { check_id, bank_id: newId() })).toMatchObject({
      status: 409,
      body: { code: "check_used" },
    });
  });

  it.each([
    ["the cache was lost", async () => gateway.broker.cacher?.clean()],
    [
      "the cache is down",
      async () => {
        const cacher = gateway.broker.cacher as unknown as { get: () => Promise<unknown> };
        const { get } = cacher;
        cacher.get = () => {
          cacher.get = get;
          return Promise.reject(new Error("connection refused"));
        };
      },
    ],
  ])("confirming when %s, answers CHECK_EXPIRED", async (_, lose) => {
    const check_id = await check();
    gateway.on("orders.reopenCheckout", () => {
      throw fail("CHECK_EXPIRED");
    });
    await lose();
    expect(await post("/orders/confirm", { check_id, bank_id })).toMatchObject({
      status: 409,
      body: { code: "check_expired" },
    });
  });

  it("confirming with changed prices, returns the differences with the client's names", async () => {
    const check_id = await check();
    gateway.on("orders.confirm", () => {
      throw fail("QUOTE_CHANGED", "A price changed.", {
        changes: [{ productId: "p", unitPrice: { amountMinor: 2 } }],
      });
    });
    expect(await post("/orders/confirm", { check_id, bank_id })).toMatchObject({
      status: 409,
      body: {
        code: "quote_changed",
        data: { changes: [{ product_id: "p", unit_price: { amount_minor: 2 } }] },
      },
    });
  });

  it("checking as another role than customer, is refused", async () => {
    authorization = `Bearer ${await gateway.identity.token({ role: "admin" })}`;
    expect(await post("/orders/check", cart)).toMatchObject({ status: 403 });
  });
});

describe("the gateway's own reads", () => {
  const get = async (path: string) => {
    const token = await gateway.identity.token({ role: "admin" });
    const response = await fetch(`${gateway.url}/api/v1${path}`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    expect([response.status, await response.text()]).toEqual([200, expect.any(String)]);
  };

  it("of a user, have the ten newest orders", async () => {
    const userId = newId();
    await get(`/users/${userId}`);
    expect(called("orders.list").map(({ params }) => params)).toEqual([{ userId, limit: 10 }]);
  });

  it("of dead letters, have 50 of each service unless the client says otherwise", async () => {
    await get("/dead-letters");
    expect(called("orders.deadLetters").map(({ params }) => params)).toEqual([{ limit: 50 }]);
    await get("/dead-letters?limit=7");
    expect(called("partners.deadLetters").at(-1)?.params).toEqual({ limit: 7 });
  });
});

it("a sign-in without a user agent, passes none on", async () => {
  const body = JSON.stringify({ email: "a@example.org", password: "Blaubeere-Teppich-91" });
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  const sent = request(`${gateway.url}/api/v1/sessions`, { method: "POST", headers, agent: false });
  sent.end(body);
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  response.resume();
  await once(response, "end");
  expect(response.statusCode).toBe(201);
  expect(Object.keys(called("identity.signIn")[0]?.params as object).sort()).toEqual(["email", "password"]);
});
