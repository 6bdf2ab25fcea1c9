import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { newId } from "../../lib/ids.ts";
import type { Client } from "./client.ts";
import { signed } from "./world.ts";

const SECRET = `whsec_${Buffer.from("the secret of the bank of strays").toString("base64")}`;

/** A bank that reports payments for orders that there are not, and refuses every refund. */
export async function strayBank(api: Client, root: string) {
  const server = createServer((request, response) => {
    request.resume();
    const isCheckout = request.url === "/checkouts";
    response
      .writeHead(isCheckout ? 201 : 422)
      .end(JSON.stringify({ id: "c", url: "http://127.0.0.1:9/pay" }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const body = {
    title: `Strays ${newId()}`,
    adapter: "sandbox",
    settings: { apiKey: "s".repeat(32), webhookSecret: SECRET },
    webcheckout_url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    active: true,
  };
  const { id: bankId } = await api.ok<{ id: string }>("POST /banks", { token: root, key: newId(), body });
  return {
    bankId,
    /** @returns the payment's id in the operators' list */
    async pay(amountMinor: number): Promise<string> {
      const paymentId = `pay_${newId()}`;
      const data = { payment_id: paymentId, order_id: newId(), amount_minor: amountMinor, currency: "EUR" };
      const text = JSON.stringify({ type: "payment.succeeded", data });
      const response = await fetch(`${api.url}/api/v1/webhooks/payments/${bankId}`, {
        method: "POST",
        headers: signed(SECRET, newId(), new Date(), text),
        body: text,
      });
      if (!response.ok) throw new Error(`the callback was answered ${response.status}`);
      const { items } = await api.ok<{ items: { id: string; payment_id: string }[] }>(
        "GET /payments/unmatched?limit=100",
        { token: root },
      );
      return items.find(({ payment_id }) => payment_id === paymentId)?.id as string;
    },
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
