import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Webhook } from "standardwebhooks";
import { newId } from "../../lib/ids.ts";
import { type PartnerSystem, partnerSystem } from "../../sandbox/partner-system/system.ts";
import { serve, type WebServer } from "../../sandbox/web.ts";
import { eventually } from "../support/eventually.ts";

const secret = `whsec_${Buffer.alloc(32, 9).toString("base64")}`;
const webhook = new Webhook(secret);
const partnerId = newId();

interface Said {
  type: string;
  data: { order_id: string; reason?: string };
  id: string;
}

/** The platform's side: what the kitchen says, once its signature was verified. */
async function startPlatform() {
  const said: Said[] = [];
  const answers: number[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const event = webhook.verify(Buffer.concat(chunks), request.headers as Record<string, string>) as Said;
    said.push({ ...event, id: String(request.headers["webhook-id"]) });
    response.writeHead(answers.shift() ?? 202).end();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    said,
    answers,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`,
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

let platform: Awaited<ReturnType<typeof startPlatform>>;
let kitchens: PartnerSystem;
let web: WebServer;

beforeAll(async () => {
  platform = await startPlatform();
  kitchens = partnerSystem({ base: "/kitchen", preparationMs: 30 });
  kitchens.open({ partnerId, title: "Bäckerei Aare", secret });
  web = await serve(kitchens.routes, { host: "127.0.0.1", port: 0 });
});
afterAll(async () => {
  kitchens.stop();
  await web.stop();
  await platform.stop();
});

function tell(orderId: string, { note, signed = webhook }: { note?: string; signed?: Webhook } = {}) {
  const id = newId();
  const at = new Date();
  const lines = [{ title: "Bread", quantity: 2 }];
  const data = { order_id: orderId, lines, callback_url: platform.url, ...(note && { note }) };
  const body = JSON.stringify({ id, type: "order.paid", data });
  return fetch(web.url + kitchens.pathOf(partnerId), {
    method: "POST",
    headers: {
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
      "webhook-signature": signed.sign(id, at, body),
    },
    body,
  });
}

const saidOf = (orderId: string) =>
  platform.said.filter(({ data }) => data.order_id === orderId).map(({ type }) => type);

describe("the sandbox's kitchen", () => {
  it("accepts an order once, also after two webhooks, and reports it ready", async () => {
    const orderId = newId();
    expect((await tell(orderId)).status).toBe(204);
    await tell(orderId);
    await eventually(() => expect(saidOf(orderId)).toEqual(["order.accepted", "order.ready"]));
    expect(await (await fetch(`${web.url}/kitchen`)).text()).toContain(orderId);
  });

  it("rejects an order with the note reject, with a reason", async () => {
    const orderId = newId();
    await tell(orderId, { note: "please reject this" });
    await eventually(() =>
      expect(platform.said).toContainEqual(
        expect.objectContaining({
          type: "order.rejected",
          data: { order_id: orderId, reason: expect.any(String) },
        }),
      ),
    );
  });

  it("repeats a callback that the platform could not accept, under the same id", async () => {
    const orderId = newId();
    platform.answers.push(503);
    await tell(orderId);
    await eventually(() =>
      expect(saidOf(orderId)).toEqual(["order.accepted", "order.accepted", "order.ready"]),
    );
    const ids = platform.said.filter(
      ({ type, data }) => data.order_id === orderId && type === "order.accepted",
    );
    expect(new Set(ids.map(({ id }) => id)).size).toBe(1);
  });

  it("answers an order with a wrong signature with 401, and sends nothing", async () => {
    const orderId = newId();
    const signed = new Webhook(`whsec_${Buffer.alloc(32, 1).toString("base64")}`);
    expect((await tell(orderId, { signed })).status).toBe(401);
    expect(await (await fetch(`${web.url}/kitchen`)).text()).not.toContain(orderId);
  });
});
