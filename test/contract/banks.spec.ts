import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "@jest/globals";
import { Webhook } from "standardwebhooks";
import { newId } from "../../lib/ids.ts";
import { type BankFixture, bankContract } from "../../providers/banks/contract.ts";
import { BankError, type Callback, openBank } from "../../providers/banks/index.ts";
import { startPaymentSystem } from "../../sandbox/payment-system/server.ts";
import { eventually } from "../support/eventually.ts";

const apiKey = "sk_contract";
const webhookSecret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const settings = { apiKey, webhookSecret };

/** Takes the reports of a bank as the gateway would: headers in lower case and the very bytes. */
async function startMerchant() {
  const reports: Omit<Callback, "now">[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      reports.push({ headers: request.headers as Record<string, string>, body });
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
  bankContract(async (): Promise<BankFixture> => {
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

describe("the sandbox's adapter, while a secret is rolled", () => {
  it("takes what either secret signed, and nothing else", () => {
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

describe("the time of a sandbox report", () => {
  it.each(["0", "00", "+", "0x"])("with %s in front, is another text than was signed: refused", (front) => {
    const bank = openBank("sandbox", settings, "http://127.0.0.1:9");
    const now = new Date();
    const headers = {
      "webhook-id": "e",
      "webhook-timestamp": `${front}${Math.floor(now.getTime() / 1000)}`,
      "webhook-signature": new Webhook(webhookSecret).sign("e", now, "{}"),
    };
    expect(bank.verify({ headers, body: "{}", now: now.getTime() })).toMatchObject({ kind: "refused" });
  });
});

describe("openBank", () => {
  it.each([
    ["another adapter", "gold", settings],
    ["a setting that is missing", "sandbox", { apiKey }],
    ["a setting that is unknown", "sandbox", { ...settings, colour: "red" }],
    ["a key that would break the header", "sandbox", { ...settings, apiKey: "a\r\nb" }],
    ["a secret of another form", "sandbox", { ...settings, webhookSecret: "whsec_short" }],
    ["a name out of Object.prototype", "constructor", settings],
  ])("with %s, refuses without showing a value", (_, adapter, given) => {
    let message = "";
    try {
      openBank(adapter, given as Record<string, string>, "http://127.0.0.1:9");
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).not.toBe("");
    for (const value of Object.values(given)) expect(message).not.toContain(value);
  });
});

describe("the sandbox's adapter, facing a bank that does not do as it says", () => {
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

  it("a redirect is not followed: the merchant's key goes to the configured address and to no other", async () => {
    const elsewhere = await answering(200, "{}");
    const server = await answering(307, "", { location: elsewhere.url });
    expect(await kindOf(server.bank.findPayments("o"))).toBe("unclear");
    expect(server.seen).toEqual([`GET /payments?order_id=o Bearer ${apiKey}`]);
    expect(elsewhere.seen).toEqual([]);
    server.stop();
    elsewhere.stop();
  });

  it("nobody there, or nobody answering in time, is unclear", async () => {
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
