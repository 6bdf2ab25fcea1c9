import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { newId } from "../../lib/ids.ts";

export interface BankPayment {
  id: string;
  orderId: string;
  amountMinor: number;
}

export interface BankRefund {
  id: string;
  paymentId: string;
  amountMinor: number;
}

/** How the bank reports a payment, in the sandbox's language: the same payment in the same words. */
export function paymentReport({
  paymentId,
  orderId,
  amountMinor,
}: {
  paymentId: string;
  orderId: string;
  amountMinor: number;
}): string {
  return JSON.stringify({
    type: "payment.succeeded",
    data: { payment_id: paymentId, order_id: orderId, amount_minor: amountMinor, currency: "EUR" },
  });
}

/**
 * A bank whose books outlive every kill: it speaks the sandbox's language, and what it has paid back it has paid back.
 * Each refund's id is its idempotency key, as banks promise.
 */
export async function startBank(apiKey: string) {
  const payments = new Map<string, BankPayment>();
  const refunds = new Map<string, BankRefund>();
  const bank = {
    url: "",
    payments,
    refunds,
    /** How often a completed refund was requested again, although a look-up would have shown it. */
    repeats: 0,
    pay(orderId: string, amountMinor: number): BankPayment {
      const payment = { id: newId(), orderId, amountMinor };
      payments.set(payment.id, payment);
      return payment;
    },
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
  const answer = (method: string, url: URL, text: string): [number, object] => {
    const { pathname } = url;
    if (pathname === "/checkouts") return [201, { id: newId(), url: `${bank.url}/checkout` }];
    if (pathname === "/payments") {
      const items = [...payments.values()]
        .filter(({ orderId }) => orderId === url.searchParams.get("order_id"))
        .map(({ id, amountMinor }) => ({ payment_id: id, amount_minor: amountMinor, currency: "EUR" }));
      return [200, { items }];
    }
    if (method === "GET") {
      const known = refunds.get(pathname.slice("/refunds/".length));
      return known ? [200, { id: known.id, state: "completed" }] : [404, {}];
    }
    const asked = JSON.parse(text) as { id: string; payment_id: string; amount_minor: number };
    if (refunds.has(asked.id)) bank.repeats += 1;
    else {
      refunds.set(asked.id, { id: asked.id, paymentId: asked.payment_id, amountMinor: asked.amount_minor });
    }
    return [201, { id: asked.id, state: "completed" }];
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const isOurs = request.headers.authorization === `Bearer ${apiKey}`;
      const url = new URL(request.url ?? "/", "http://bank");
      const [status, body] = isOurs
        ? answer(request.method ?? "", url, Buffer.concat(chunks).toString())
        : [401, {}];
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  bank.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return bank;
}

export type FaultBank = Awaited<ReturnType<typeof startBank>>;
