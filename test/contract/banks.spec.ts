import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "@jest/globals";
import { Webhook } from "standardwebhooks";
import { callbackHeaders } from "../../contracts/banks.ts";
import { bankReports } from "../../contracts/webhooks.ts";
import { newId } from "../../lib/ids.ts";
import { type BankFixture, bankConformance } from "../../providers/banks/conformance.ts";
import { BankError, type Callback, openBank } from "../../providers/banks/index.ts";
import { startPaymentSystem } from "../../sandbox/payment-system/server.ts";
import { eventually } from "../support/eventually.ts";

const apiKey = "sk_contract";
const webhookSecret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const settings = { apiKey, webhookSecret };

/** Takes the reports of a bank as the gateway would: the headers of the adapter in lower case, and the very bytes. */
async function startMerchant() {
  const reports: Omit<Callback, "now">[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      const passedOn = Object.entries(request.headers as Record<string, string>).filter(([name]) =>
        callbackHeaders.sandbox.includes(name),
      );
      reports.push({ headers: Object.fromEntries(passedOn), body });
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`,
    next: () =>
      eventually(() => {
        const report = reports.shift();
        if (!report) throw new Error("the bank has not reported");
        return report;
      }),
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

describe("bank sandbox", () => {
  bankConformance(async (): Promise<BankFixture> => {
    const merchant = await startMerchant();
    const system = await startPaymentSystem({ host: "127.0.0.1", port: 0, ...settings });
    const bank = openBank("sandbox", settings, system.url);
    return {
      bank: {
        ...bank,
        openCheckout: (request) => bank.openCheckout({ ...request, callbackUrl: merchant.url }),
      },
      stranger: openBank("sandbox", { apiKey, webhookSecret: `whsec_${"A".repeat(43)}=` }, system.url),
      async pay(checkoutUrl, amountMinor) {
        const form = { action: "underpay", amount: (amountMinor / 100).toFixed(2) };
        const answer = await fetch(checkoutUrl, {
          method: "POST",
          redirect: "manual",
          body: new URLSearchParams(form),
        });
        expect(answer.status).toBe(303);
        return merchant.next();
      },
      nextReport: merchant.next,
      async stop() {
        await system.stop();
        merchant.stop();
      },
    };
  });
});

describe("docs/banks.md", () => {
  const page = readFileSync("docs/banks.md", "utf8");
  const section = page.slice(page.indexOf("## An adapter for another API"));

  it("names every method that a bank can have, and every file that an adapter needs", () => {
    const stripe = {
      secretKey: "rk_test_x",
      webhookSecret,
      returnUrl: "https://shop.example.org/",
    };
    const banks = [
      openBank("sandbox", settings, "http://127.0.0.1:9"),
      openBank("stripe", stripe, "https://checkout.stripe.com"),
    ];
    const methods = new Set(banks.flatMap((bank) => Object.keys(bank)));
    expect([...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name).toSorted()).toEqual(
      [...methods].toSorted(),
    );
    const files = [
      ...page.matchAll(/`((?:providers|contracts|services|proto|test)\/[^`<]+\.(?:ts|proto))`/g),
    ];
    expect(files.length).toBeGreaterThan(8);
    expect(files.map(([, file]) => file as string).filter((file) => !existsSync(file))).toEqual([]);
  });

  it("names every setting, header and report of its protocol", () => {
    for (const name of [...Object.keys(bankReports), ...["apiKey", "webhookSecret", "webhookSecretPrevious"]])
      expect(page).toContain(name);
  });
});

describe("the sandbox's adapter, while a secret is rolled", () => {
  it("accepts reports signed by either secret and refuses others", () => {
    const previous = `whsec_${Buffer.alloc(32, 8).toString("base64")}`;
    const rolling = openBank(
      "sandbox",
      { ...settings, webhookSecretPrevious: previous },
      "http://127.0.0.1:9",
    );
    const body = JSON.stringify({
      type: "payment.succeeded",
      data: { payment_id: "p", order_id: "o", amount_minor: 1, currency: "EUR" },
    });
    const by = (secret: string) => {
      const now = new Date();
      const headers = {
        "webhook-id": "e",
        "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
        "webhook-signature": new Webhook(secret).sign("e", now, body),
      };
      return rolling.verify({ headers, body, now: now.getTime() }).kind;
    };
    expect([by(webhookSecret), by(previous)]).toEqual(["event", "event"]);
    expect(by(`whsec_${Buffer.alloc(32, 9).toString("base64")}`)).toBe("refused");
  });
});

describe("the sandbox's adapter, given a report", () => {
  const AT_SECONDS = 1_800_000_000;
  const bank = openBank("sandbox", settings, "http://127.0.0.1:9");
  const good = {
    type: "payment.succeeded",
    data: { payment_id: "p-1", order_id: "o-1", amount_minor: 1250, currency: "EUR" },
  };
  const headersOf = (body: string, id = "e-1"): Record<string, string> => ({
    "webhook-id": id,
    "webhook-timestamp": String(AT_SECONDS),
    "webhook-signature": new Webhook(webhookSecret).sign(id, new Date(AT_SECONDS * 1000), body),
  });
  const told = (event: unknown, { id = "e-1", now = AT_SECONDS * 1000 } = {}) => {
    const body = typeof event === "string" ? event : JSON.stringify(event);
    return bank.verify({ headers: headersOf(body, id), body, now });
  };
  const changed = (data: object, type = good.type) => ({ type, data: { ...good.data, ...data } });
  const event = {
    eventId: "e-1",
    paymentId: "p-1",
    orderId: "o-1",
    amount: { amountMinor: 1250, currency: "EUR" },
  };

  it("of each kind of event, returns its meaning", () => {
    expect(told(good)).toStrictEqual({ kind: "event", event: { ...event, kind: "paid" } });
    expect(told(changed({}, "payment.failed"))).toStrictEqual({
      ...{ kind: "event", event: { ...event, kind: "failed" } },
    });
    expect(told(changed({ refund_id: "r-1" }, "refund.completed"))).toStrictEqual({
      ...{ kind: "event", event: { ...event, kind: "refunded", refundId: "r-1" } },
    });
  });

  it.each([
    ["no JSON", "{", "the body is not JSON"],
    ["no event", "[]", "unknown type"],
    ["no type", changed({}, undefined), "names"],
    ["a type that is no text", { ...good, type: 7 }, "unknown type"],
    ["another type", changed({}, "payment.pondered"), "unknown type"],
    ["a name out of Object.prototype", changed({}, "toString"), "unknown type"],
    ["no payment", changed({ payment_id: null }), "names no payment"],
    ["no order", changed({ order_id: "" }), "no order"],
    ["a payment that is a number", changed({ payment_id: 7 }), "names no payment"],
    ["no amount", changed({ amount_minor: null }), "the amount"],
    ["an amount of nothing", changed({ amount_minor: 0 }), "the amount"],
    ["less than nothing", changed({ amount_minor: -1 }), "the amount"],
    ["half a cent", changed({ amount_minor: 0.5 }), "the amount"],
    ["an amount in words", changed({ amount_minor: "1250" }), "the amount"],
    ["what is no currency", changed({ currency: "XXX" }), "the amount"],
    ["no currency", changed({ currency: null }), "the amount"],
    ["a refund without a name", changed({}, "refund.completed"), "names no refund"],
  ])("%s, genuine, returns it as unusable with the reason", (what, given, reason) => {
    const verdict = told(what === "no type" ? { data: good.data } : given);
    expect(verdict).toEqual({
      ...{ kind: "unusable", eventId: "e-1" },
      reason: expect.stringContaining(what === "no type" ? "unknown type" : reason),
    });
  });

  it("one minor unit, accepts it", () => {
    expect(told(changed({ amount_minor: 1 }))).toMatchObject({ event: { amount: { amountMinor: 1 } } });
  });

  it("without an id, a time or a signature, refuses it as unsigned", () => {
    const body = JSON.stringify(good);
    for (const header of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
      const { [header]: _, ...headers } = headersOf(body);
      const verdict = bank.verify({ headers, body, now: AT_SECONDS * 1000 });
      expect({ header, verdict }).toEqual({ header, verdict: { kind: "refused", reason: "unsigned" } });
    }
  });

  it("with too long an id, refuses it", () => {
    expect(told(good, { id: "e".repeat(200) })).toMatchObject({ kind: "event" });
    expect(told(good, { id: "e".repeat(201) })).toEqual({ kind: "refused", reason: "wrong" });
  });

  it("up to five minutes early or late, accepts it; beyond that, refuses it as stale", () => {
    for (const [apartMs, kind] of [
      [300_000, "event"],
      [300_001, "refused"],
    ] as const) {
      expect(told(good, { now: AT_SECONDS * 1000 + apartMs }).kind).toBe(kind);
      expect(told(good, { now: AT_SECONDS * 1000 - apartMs }).kind).toBe(kind);
    }
  });
});

describe("the time of a sandbox report", () => {
  it.each(["0", "00", "+", "0x"])(
    "with %s in front, differs from the signed text and is refused",
    (front) => {
      const bank = openBank("sandbox", settings, "http://127.0.0.1:9");
      const now = new Date();
      const headers = {
        "webhook-id": "e",
        "webhook-timestamp": `${front}${Math.floor(now.getTime() / 1000)}`,
        "webhook-signature": new Webhook(webhookSecret).sign("e", now, "{}"),
      };
      expect(bank.verify({ headers, body: "{}", now: now.getTime() })).toMatchObject({ kind: "refused" });
    },
  );
});

describe("openBank", () => {
  it.each([
    ["another adapter", "gold", settings, "no such adapter"],
    ["a setting that is missing", "sandbox", { apiKey }, "webhookSecret is missing"],
    ["a setting that is unknown", "sandbox", { ...settings, colour: "red" }, "colour is unknown"],
    ["a key that would break the header", "sandbox", { ...settings, apiKey: "a\r\nb" }, "apiKey is not"],
    [
      "a secret of another form",
      "sandbox",
      { ...settings, webhookSecret: "whsec_short" },
      "webhookSecret is",
    ],
    ["a name out of Object.prototype", "constructor", settings, "no such adapter"],
  ])("with %s, refuses without the values in the error", (_, adapter, given, names) => {
    let message = "";
    try {
      openBank(adapter, given as Record<string, string>, "http://127.0.0.1:9");
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toContain(names);
    for (const value of Object.values(given)) expect(message).not.toContain(value);
  });
});

describe("the sandbox's adapter, with a bank that violates its protocol", () => {
  const amount = { amountMinor: 100, currency: "EUR" };

  async function answering(status: number, body: string, headers: Record<string, string> = {}) {
    const seen: string[] = [];
    const server = createServer((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization}`);
      response.writeHead(status, headers).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { bank: openBank("sandbox", settings, url), url, seen, stop: () => server.close() };
  }
  const kindOf = async (work: Promise<unknown>) =>
    work.then(
      () => "done",
      (error: BankError) => (error instanceof BankError ? error.kind : String(error)),
    );

  it.each([
    ["an error of its own", "unclear", 500, "{}"],
    ["too many requests", "unclear", 429, "{}"],
    ["the first request still running", "unclear", 409, "{}"],
    ["a wrong key", "unclear", 401, "{}"],
    ["no such payment", "refused", 404, "{}"],
    ["an impossible refund", "refused", 422, "{}"],
    ["no JSON", "unclear", 200, "<html>"],
    ["no state", "unclear", 200, "{}"],
    ["an endless answer", "unclear", 200, `"${"x".repeat(70_000)}"`],
  ])("refund, answered with %s, is %s", async (_, kind, status, body) => {
    const server = await answering(status, body);
    const refund = server.bank.refund({ refundId: newId(), paymentId: "p", amount });
    expect(await kindOf(refund)).toBe(kind);
    server.stop();
  });

  it.each([
    [{ url: "https://bank.example/pay" }, "done"],
    [{ url: "http://127.0.0.1/pay" }, "done"],
    [{ url: "javascript:alert(1)" }, "unclear"],
    [{ url: "/pay" }, "unclear"],
    [{ url: 7 }, "unclear"],
    [{}, "unclear"],
    [null, "unclear"],
  ])("openCheckout, answered with %j, is %s", async (answer, kind) => {
    const server = await answering(201, JSON.stringify(answer));
    const checkout = { orderId: "o", amount, idempotencyKey: "o", callbackUrl: server.url, description: "d" };
    expect(await kindOf(server.bank.openCheckout(checkout))).toBe(kind);
    server.stop();
  });

  it.each([
    [{ state: "pending" }, { state: "pending" }],
    [{ state: "completed", reason: 7 }, { state: "completed" }],
    [
      { state: "failed", reason: "no\n".repeat(100) },
      { state: "failed", reason: `${"no ".repeat(66)}n…` },
    ],
    [{ state: "lost" }, "unclear"],
    [{}, "unclear"],
  ])("refund and findRefund, answered with %j, are %j", async (answer, expected) => {
    const server = await answering(200, JSON.stringify(answer));
    for (const ask of [
      () => server.bank.refund({ refundId: newId(), paymentId: "p", amount }),
      async () => server.bank.findRefund?.("r", "p"),
    ]) {
      expect(await ask().catch(({ kind }: BankError) => kind)).toStrictEqual(expected);
    }
    server.stop();
  });

  it("findRefund of an unknown refund, is undefined", async () => {
    const server = await answering(404, "");
    expect(await server.bank.findRefund?.("r/1", "p")).toBeUndefined();
    expect(server.seen).toEqual([`GET /refunds/r%2F1 Bearer ${apiKey}`]);
    server.stop();
  });

  it.each([
    [{ refunded_minor: 0 }, { refundedMinor: 0 }],
    [{ refunded_minor: 30 }, { refundedMinor: 30 }],
    [{ refunded_minor: -1 }, {}],
    [{ refunded_minor: 0.5 }, {}],
    [{ refunded_minor: "30" }, {}],
    [{}, {}],
  ])("findPayments, with the refunds %j, returns %j", async (told, tells) => {
    const item = { payment_id: "p", amount_minor: 100, currency: "EUR", ...told };
    const server = await answering(200, JSON.stringify({ items: [item] }));
    expect(await server.bank.findPayments("o")).toStrictEqual([{ paymentId: "p", amount, ...tells }]);
    server.stop();
  });

  it.each([
    ["no list", {}],
    ["a list that is none", { items: { 0: 1 } }],
    ["a payment without a name", { items: [{ amount_minor: 100, currency: "EUR" }] }],
    ["a payment of nothing", { items: [{ payment_id: "p", amount_minor: 0, currency: "EUR" }] }],
    ["what is no payment", { items: [null] }],
  ])("findPayments, answered with %s, is unreadable", async (_, answer) => {
    const server = await answering(200, JSON.stringify(answer));
    expect(await kindOf(server.bank.findPayments("o"))).toBe("unreadable");
    server.stop();
  });

  it("a redirect is not followed: the merchant's key is sent to the configured address only", async () => {
    const elsewhere = await answering(200, "{}");
    const server = await answering(307, "", { location: elsewhere.url });
    expect(await kindOf(server.bank.findPayments("o"))).toBe("unclear");
    expect(server.seen).toEqual([`GET /payments?order_id=o Bearer ${apiKey}`]);
    expect(elsewhere.seen).toEqual([]);
    server.stop();
    elsewhere.stop();
  });

  it("without a server, or without a response in time, the outcome is unclear", async () => {
    const closed = openBank("sandbox", settings, "http://127.0.0.1:9");
    expect(await kindOf(closed.findPayments("o"))).toBe("unclear");
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const request = {
      orderId: "o",
      amount,
      idempotencyKey: "o",
      callbackUrl: url,
      description: "d",
      timeoutMs: 100,
    };
    expect(await kindOf(openBank("sandbox", settings, url).openCheckout(request))).toBe("unclear");
    silent.closeAllConnections();
    silent.close();
  });
});
