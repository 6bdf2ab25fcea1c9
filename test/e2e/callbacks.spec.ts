import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { Random } from "../simulation/random.ts";
import { type Client, connect } from "./client.ts";
import { admin, atCheckout, customer, type Kitchen, kitchen, order, orderWhen, signed } from "./world.ts";

/** Of each kind of callback; the adapters' own tests make ten thousand without the HTTP. */
const MUTATIONS = Number(process.env.CALLBACK_MUTATIONS ?? 250);
const AT_ONCE = 10;
const STALE_MS = 301_000;

interface Callback {
  path: string;
  headers: Record<string, string>;
  body: Buffer;
}

let api: Client;
let shop: Kitchen;
let bankId: string;
let root: string;
const bankSecret = `whsec_${Buffer.from("the secret of the bank that is forged").toString("base64")}`;

beforeAll(async () => {
  api = await connect();
  root = await admin(api);
  shop = await kitchen(api, root);
  const body = {
    title: `Bank ${newId()}`,
    adapter: "sandbox",
    settings: { apiKey: "b".repeat(32), webhookSecret: bankSecret },
    webcheckout_url: "http://127.0.0.1:9/pay",
    active: false,
  };
  bankId = (await api.ok<{ id: string }>("POST /banks", { token: root, key: newId(), body })).id;
});
afterAll(() => shop?.close());

/** Their texts hold what a decoder puts in place of bytes that it cannot read. */
function fromBank(change: { id?: string; at?: Date; secret?: string; amount?: number } = {}): Callback {
  const { id = newId(), at = new Date(), secret = bankSecret, amount = 1250 } = change;
  const data = { payment_id: `p-\ufffd-${id}`, order_id: id, amount_minor: amount, currency: "EUR" };
  const body = JSON.stringify({ type: "payment.succeeded", data });
  return { path: `payments/${bankId}`, headers: signed(secret, id, at, body), body: Buffer.from(body) };
}

function fromPartner(change: { id?: string; at?: Date; secret?: string } = {}): Callback {
  const { id = newId(), at = new Date(), secret = shop.secret } = change;
  const data = { order_id: newId(), reason: "\ufffd" };
  const body = JSON.stringify({ type: "order.rejected", timestamp: at.toISOString(), data });
  return {
    path: `partners/${shop.partnerId}`,
    headers: signed(secret, id, at, body),
    body: Buffer.from(body),
  };
}

async function send({ path, headers, body }: Callback): Promise<{ status: number; text: string }> {
  const response = await fetch(`${api.url}/api/v1/webhooks/${path}`, {
    method: "POST",
    headers,
    body: new Uint8Array(body),
  });
  return { status: response.status, text: await response.text() };
}

const SIGNED = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/** The callback with one small change somewhere; undefined where the change changes nothing that was signed. */
function mutated(callback: Callback, chance: Random): Callback | undefined {
  const below = (max: number) => chance.between(0, max - 1);
  const where = below(5);
  if (where < 2) {
    const body = Buffer.from(callback.body);
    const at = below(body.length);
    const how = below(4);
    if (how === 0) body[at] = (body[at] as number) ^ (1 << below(8));
    else if (how === 1) body[at] = below(256);
    else if (how === 2)
      return { ...callback, body: Buffer.concat([body.subarray(0, at), body.subarray(at + 1)]) };
    else return { ...callback, body: Buffer.concat([body, Buffer.from([below(256)])]) };
    return body.equals(callback.body) ? undefined : { ...callback, body };
  }
  const name = SIGNED[where - 2] as string;
  const value = callback.headers[name] as string;
  const at = below(value.length);
  const letter = String.fromCharCode(0x21 + below(0x5e));
  const rest = below(2) === 0 ? value.slice(at + 1) : value.slice(at);
  const changed = value.slice(0, at) + letter + rest;
  if (changed === value || changed.split(" ").includes(value)) return undefined;
  return { ...callback, headers: { ...callback.headers, [name]: changed } };
}

describe("a forged callback", () => {
  it(
    "is refused with a byte-identical response for every reason, from banks and partners",
    async () => {
      const seed = Date.now() % 1_000_000;
      const chance = new Random(seed);
      const forged: Callback[] = [];
      for (const make of [fromBank, fromPartner]) {
        const genuine = make();
        for (let made = 0; made < MUTATIONS; ) {
          const one = mutated(genuine, chance);
          if (!one) continue;
          forged.push(one);
          made++;
        }
        const bare = { ...genuine, headers: { "Content-Type": "application/json" } };
        const elsewhere = { ...genuine, path: genuine.path.replace(/[^/]+$/, newId()) };
        const nowhere = { ...genuine, path: genuine.path.replace(/[^/]+$/, "nobody") };
        const stale = make({ at: new Date(Date.now() - STALE_MS) });
        const early = make({ at: new Date(Date.now() + 2 * STALE_MS) });
        forged.push(bare, elsewhere, nowhere, stale, early);
      }
      forged.push(fromBank({ secret: shop.secret }), fromPartner({ secret: bankSecret }));
      forged.push({ ...fromBank(), path: fromPartner().path }, { ...fromPartner(), path: fromBank().path });
      const answers = new Map<string, number>();
      while (forged.length > 0) {
        for (const { status, text } of await Promise.all(forged.splice(0, AT_ONCE).map(send))) {
          const answer = `${status} ${text}`;
          answers.set(answer, (answers.get(answer) ?? 0) + 1);
        }
      }
      expect({ seed, answers: [...answers.keys()] }).toEqual({
        seed,
        answers: [expect.stringMatching(/^401 .*"code":"bad_signature"/)],
      });
    },
    60_000 + MUTATIONS * 60,
  );

  it("differs from the genuine ones, which are accepted", async () => {
    expect(await send(fromBank())).toMatchObject({ status: 204 });
    expect(await send(fromPartner())).toMatchObject({
      status: 404,
      text: expect.stringContaining("not_found"),
    });
  });
});

describe("the examples of callbacks in the OpenAPI document", () => {
  interface Example {
    value: { id?: string; type: string; data: { order_id: string } };
  }
  const examplesOf = (path: string) => {
    const { post } = api.document.paths[path] as unknown as { post: { requestBody: { content: Json } } };
    return Object.entries(post.requestBody.content["application/json"].examples);
  };
  interface Json {
    "application/json": { examples: Record<string, Example> };
  }

  it("of partners' systems, with the id of an order, are accepted and move it", async () => {
    const buyer = await customer(api);
    const examples = new Map(examplesOf("/webhooks/partners/{partner_id}"));
    const tell = async (type: string, orderId: string) => {
      const { id: _, ...value } = (examples.get(type) as Example).value;
      const body = JSON.stringify({ ...value, data: { ...value.data, order_id: orderId } });
      const path = `partners/${shop.partnerId}`;
      const headers = signed(shop.secret, newId(), new Date(), body);
      expect([type, await send({ path, headers, body: Buffer.from(body) })]).toEqual([
        type,
        { status: 202, text: expect.anything() },
      ]);
    };
    for (const [types, status] of [
      [["order.accepted", "order.delayed", "order.ready"], "ready"],
      [["order.rejected"], "cancelled"],
    ] as const) {
      const { order_id, checkout_url } = await order(api, buyer, shop);
      await atCheckout(checkout_url, { action: "pay" });
      await orderWhen(api, buyer, order_id, (seen) => expect(seen.status).toBe("paid"));
      for (const type of types) {
        await tell(type, order_id);
        examples.delete(type);
      }
      await orderWhen(api, buyer, order_id, (seen) => expect(seen.status).toBe(status));
    }
    expect([...examples.keys()]).toEqual([]);
  });

  it("of payment systems, for each adapter, are accepted as they are", async () => {
    const stripeSecret = "whsec_of_the_examples_of_the_document";
    const body = {
      title: `Stripe ${newId()}`,
      adapter: "stripe",
      settings: {
        secretKey: "rk_test_examplesOfTheDocument",
        webhookSecret: stripeSecret,
        returnUrl: "https://shop.example.org/done",
      },
      webcheckout_url: "https://checkout.stripe.com",
      active: false,
    };
    const stripe = await api.ok<{ id: string }>("POST /banks", { token: root, key: newId(), body });
    for (const [type, { value }] of examplesOf("/webhooks/payments/{bank_id}")) {
      const text = JSON.stringify(value);
      const isStripe = "object" in value;
      const seconds = Math.floor(Date.now() / 1000);
      const mac = createHmac("sha256", stripeSecret).update(`${seconds}.${text}`).digest("hex");
      const headers = isStripe
        ? { "Content-Type": "application/json", "stripe-signature": `t=${seconds},v1=${mac}` }
        : signed(bankSecret, newId(), new Date(), text);
      const path = `payments/${isStripe ? stripe.id : bankId}`;
      expect([type, (await send({ path, headers, body: Buffer.from(text) })).status]).toEqual([type, 204]);
    }
  });
});

describe("a genuine callback", () => {
  it("repeated, gets the same response; with another body and the same id, 409", async () => {
    const id = newId();
    const first = fromBank({ id });
    expect((await send(first)).status).toBe(204);
    expect((await send(first)).status).toBe(204);
    const other = await send(fromBank({ id, amount: 1251 }));
    expect(other).toMatchObject({ status: 409, text: expect.stringContaining("event_mismatch") });
  });

  it.each([["bank", fromBank] as const, ["partner", fromPartner] as const])(
    "of a %s that is larger than 64 KB, answers 413 before its signature is checked",
    async (_, make) => {
      const callback = make();
      const body = Buffer.concat([callback.body, Buffer.alloc(64 * 1024, " ")]);
      expect((await send({ ...callback, body })).status).toBe(413);
    },
  );
});
