import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { requestsTo } from "../support/requests.ts";

type Requests = ReturnType<typeof requestsTo>;

let gateway: TestGateway;
let request: Requests["request"];
let raw: Requests["raw"];
let authorization: string;
beforeAll(async () => {
  gateway = await startGateway();
  const token = await gateway.identity.token();
  authorization = `Bearer ${token}`;
  ({ request, raw } = requestsTo(gateway, authorization));
});
afterAll(() => gateway.stop());
beforeEach(() => gateway.reset());

const sound = { partner_id: newId(), lines: [{ product_id: newId(), quantity: 2 }], address: addressOf() };

function addressOf() {
  return { line1: "Unter den Linden 1", city: "Berlin", postal_code: "10117", country: "DE" };
}

function check(body: unknown) {
  return request("POST", "/api/v1/orders/check", {
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

describe("gateway, given a body", () => {
  it("that is valid, passes it on with the names of the contract", async () => {
    await check(sound);
    expect(gateway.calls[0]).toMatchObject({
      action: "partners.check",
      params: {
        partnerId: sound.partner_id,
        lines: [{ productId: sound.lines[0]?.product_id, quantity: 2 }],
      },
    });
  });

  it("with one field of the contract beside another, passes both on", async () => {
    const token = await gateway.identity.token({ role: "deliverer" });
    const send = (body: object) =>
      request("POST", `/api/v1/orders/${newId()}/location`, {
        body: JSON.stringify(body),
        headers: { Authorization: `Bearer ${token}` },
      });
    const at = "2026-03-01T12:00:00.000Z";
    expect((await send({ latitude: 46.9, longitude: 7.4, at })).status).toBe(204);
    expect((await send({ latitude: 46.9, longitude: 7.4 })).status).toBe(204);
    const position = { latitude: 46.9, longitude: 7.4 };
    expect(gateway.calls.map(({ params }) => params)).toMatchObject([{ position, at }, { position }]);
    expect((await send({ latitude: 46.9, longitude: 7.4, at: "yesterday" })).status).toBe(422);
  });

  const deep = `{"a":${"[".repeat(40)}${"]".repeat(40)}}`;
  it.each([
    ["that is no JSON", "{", 400, "bad_json"],
    ["that is not UTF-8", Buffer.from([0x22, 0xff, 0x22]), 400, "bad_json"],
    ["nested too deeply", deep, 400, "bad_request"],
    ["with __proto__", '{"__proto__":{"role":"admin"}}', 400, "bad_request"],
    ["with __proto__ deep inside", '{"address":{"__proto__":{}}}', 400, "bad_request"],
    ["with constructor", '{"constructor":{"prototype":{}}}', 400, "bad_request"],
    ["with a NUL", '{"note":"a\\u0000b"}', 400, "bad_request"],
    ["with half a surrogate pair", '{"note":"\\ud800"}', 400, "bad_request"],
    ["with two byte order marks", "\ufeff\ufeff{}", 400, "bad_json"],
    ["with a byte order mark behind it", "{}\ufeff", 400, "bad_json"],
    ["in UTF-16", Buffer.from('\ufeff{"note":"a"}', "utf16le"), 400, "bad_json"],
    ["in UTF-16 without a mark", Buffer.from('{"note":"a"}', "utf16le"), 400, "bad_json"],
    ["with an overlong slash", Buffer.from('{"note":"\xc0\xaf"}', "latin1"), 400, "bad_json"],
    ["with an overlong NUL", Buffer.from('{"note":"\xc0\x80"}', "latin1"), 400, "bad_json"],
    ["with a surrogate in UTF-8", Buffer.from('{"note":"\xed\xa0\x80"}', "latin1"), 400, "bad_json"],
    ["with a character that ends early", Buffer.from('{"note":"\xe2\x82"}', "latin1"), 400, "bad_json"],
    ["with a name twice", '{"note":"a","note":"b"}', 400, "bad_request"],
    ["with a name twice in two spellings", '{"note":"a","\\u006eote":"b"}', 400, "bad_request"],
    ["with a name twice deep inside", '{"lines":[{"a":{"b":1,"b":2}}]}', 400, "bad_request"],
    ["with prototype in a list", '{"lines":[[{"prototype":1}]]}', 400, "bad_request"],
    ["with __proto__ in an escape", '{"\\u005f_proto__":1}', 400, "bad_request"],
    ["with a comment", '{"note":"a"/**/}', 400, "bad_json"],
    ["with NaN", '{"note":NaN}', 400, "bad_json"],
    ["that goes on behind its end", "{}{}", 400, "bad_json"],
    ["that is an array", "[]", 422, "validation_error"],
    ["that is null", "null", 422, "validation_error"],
    ["that is a number", "1", 422, "validation_error"],
  ])("%s, answers %#", async (_, body, status, code) => {
    const answer = await request("POST", "/api/v1/orders/check", { body });
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status, code });
    expect(gateway.calls).toEqual([]);
  });

  it.each([
    ["an unknown field", { ...sound, role: "admin" }, "role", "unknown"],
    [
      "an unknown field deep inside",
      { ...sound, address: { ...addressOf(), zip: "1" } },
      "address.zip",
      "unknown",
    ],
    ["a contract's own spelling", { ...sound, partnerId: newId() }, "partnerId", "unknown"],
    ["a missing field", { ...sound, partner_id: undefined }, "partner_id", "required"],
    ["null in a required field", { ...sound, lines: null }, "lines", "required"],
    ["quantity 0", withQuantity(0), "lines[0].quantity", "numberMin"],
    ["quantity 100", withQuantity(100), "lines[0].quantity", "numberMax"],
    ["a fraction", withQuantity(1.5), "lines[0].quantity", "numberInteger"],
    ["text for a number", withQuantity("2"), "lines[0].quantity", "number"],
    ["no lines", { ...sound, lines: [] }, "lines", "arrayMin"],
  ])("with %s, names the field as it was sent", async (_, body, field, rule) => {
    const answer = await check(body);
    expect(answer.status).toBe(422);
    expect(answer.body.errors).toContainEqual(expect.objectContaining({ field, rule }));
    expect(gateway.calls).toEqual([]);
  });

  it.each([
    ["32 deep, looks at what is in it", 32, 422, "validation_error"],
    ["33 deep, looks no further", 33, 400, "bad_request"],
  ])("nested %s", async (_, depth, status, code) => {
    const lists = depth - 1; // the object around them is one level itself
    const answer = await check(`{"note":${"[".repeat(lists)}${"]".repeat(lists)}}`);
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status, code });
    const objects = await check(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`);
    expect({ status: objects.status, code: objects.body.code }).toEqual({ status, code });
  });

  it.each([
    ["left out", {}],
    ["null", { postal_code: null }],
  ])("with a postal code that is %s, passes on an empty one", async (_, change) => {
    const { postal_code: _code, ...address } = addressOf();
    expect((await check({ ...sound, address: { ...address, ...change } })).status).toBe(200);
    expect(gateway.calls[0]?.params).toMatchObject({ address: { postalCode: "", country: "DE" } });
  });

  it("with a byte order mark, is read without it", async () => {
    expect((await check(`\ufeff${JSON.stringify(sound)}`)).status).toBe(200);
    expect(gateway.calls).toHaveLength(1);
  });

  it("with colons, quotes and backslashes in its texts, finds no duplicate names", async () => {
    await check({ ...sound, note: 'a: "b": \\":" \\\\ : {"note":1}' });
    expect(gateway.calls).toHaveLength(1);
  });

  it.each(["1e400", "-1e400", "9007199254740993", "1.0000001"])(
    "with the number %s, answers 422",
    async (number) => {
      const body = JSON.stringify(withQuantity(0)).replace('"quantity":0', `"quantity":${number}`);
      expect((await check(body)).status).toBe(422);
    },
  );

  function withQuantity(quantity: unknown) {
    return { ...sound, lines: [{ product_id: newId(), quantity }] };
  }

  it("that is too large, answers 413 although its sender has not finished", async () => {
    const answer = await check(`{"note":"${"x".repeat(200 * 1024)}"}`);
    expect(answer.status).toBe(413);
  });

  it("that never ends, keeps no more of it than is allowed", async () => {
    const response = await raw(
      "POST /api/v1/orders/check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" +
        `Authorization: ${authorization}\r\nContent-Length: 99999999999\r\n\r\n{`,
    );
    expect(response).toMatch(/^HTTP\/1\.1 413 /);
  });

  it.each([
    ["text/plain", {}],
    ["application/json; charset=latin1", {}],
    ["application/json; charset=utf-8; charset=latin1", {}],
    ["application/json; charset", {}],
    ["application/jsonp", {}],
    ["application/json, text/plain", {}],
    ["application/problem+json", {}],
    ["application/json", { "Content-Encoding": "gzip" }],
    ["application/json", { "Content-Encoding": "br" }],
    ["application/json", { "Content-Encoding": "identity, gzip" }],
    ["", {}],
  ])("of the media type %p, answers 415", async (type, more) => {
    const answer = await request("POST", "/api/v1/orders/check", {
      headers: { "Content-Type": type, ...more },
      body: JSON.stringify(sound),
    });
    expect(answer.status).toBe(415);
  });

  it("that a service refuses by its own schema, names the field as the client knows it", async () => {
    gateway.on("partners.check", () => {
      throw Object.assign(new Error("Parameters validation error!"), {
        type: "VALIDATION_ERROR",
        code: 422,
        data: [{ type: "stringPattern", field: "address.postalCode", message: "no", nodeID: "partners-1" }],
      });
    });
    const answer = await check(sound);
    expect(answer.body.errors).toEqual([
      { field: "address.postal_code", rule: "stringPattern", message: "no" },
    ]);
    expect(answer.text).not.toContain("partners-1");
  });
});

describe("gateway, on the connection of a body", () => {
  const post = "POST /api/v1/orders/check HTTP/1.1\r\nHost: x\r\n";
  const signedIn = "Authorization: TOKEN\r\nContent-Type: application/json\r\n";
  it.each([
    ["with a length", `${post}Content-Length: 100\r\n\r\n{`],
    ["in chunks", `${post}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n`],
  ])("%s that it does not read, answers and ends the connection", async (_, bytes) => {
    expect(await raw(bytes)).toMatch(/^HTTP\/1\.1 401 [\s\S]*\r\nConnection: close\r\n/);
  });

  it.each([
    ["that is empty", `${post}Content-Length: 0\r\n\r\n`],
    ["with a length that it has read", `${post}${signedIn}Content-Length: 2\r\n\r\n{}`],
    [
      "in chunks that it has read",
      `${post}${signedIn}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
    ],
  ])("%s, answers and goes on with the connection", async (_, bytes) => {
    const answers = await raw(
      `${bytes.replace("TOKEN", authorization)}GET /api/v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    expect(answers.match(/HTTP\/1\.1 4\d\d /g)).toHaveLength(2);
  });
});

describe("gateway, given an amount of money", () => {
  const [partner, offered] = [newId(), newId()];
  const price = { title: "Flat White", price: { amount_minor: 0, currency: "EUR" } };
  const offer = { price: price.price, active: true };
  const refund = { amount: price.price, reason: "Cold" };
  const amounts: [string, string, string, object, string][] = [
    ["of a refund", "POST", `/orders/${newId()}/refund`, refund, "amount.amount_minor"],
    ["of a new product", "POST", `/partners/${partner}/products`, price, "price.amount_minor"],
    ["of an offer", "PUT", `/partners/${partner}/availability/${offered}`, offer, "price.amount_minor"],
  ];
  let admin: string;
  beforeAll(async () => {
    admin = `Bearer ${await gateway.identity.token({ role: "admin" })}`;
  });
  const send = (method: string, path: string, body: object, number: string) =>
    request(method, `/api/v1${path}`, {
      headers: { Authorization: admin },
      body: JSON.stringify(body).replace('"amount_minor":0', `"amount_minor":${number}`),
    });

  describe.each(amounts)("%s", (_, method, path, body, field) => {
    it.each(["0", "-1", "1.5", "9007199254740992", "1e400", "-1e400", '"1"', "null"])(
      "that is %s, answers 422 and names the field",
      async (number) => {
        const answer = await send(method, path, body, number);
        expect(answer.status).toBe(422);
        expect(answer.body.errors).toEqual([expect.objectContaining({ field })]);
        expect(gateway.calls).toEqual([]);
      },
    );

    it.each(["NaN", "Infinity", "01", "+1", "0x10", "1_000"])(
      "that is %s, which is not JSON, answers 400",
      async (number) => {
        const answer = await send(method, path, body, number);
        expect({ status: answer.status, code: answer.body.code }).toEqual({ status: 400, code: "bad_json" });
        expect(gateway.calls).toEqual([]);
      },
    );

    it("that is the smallest possible, passes it on", async () => {
      expect((await send(method, path, body, "1")).status).toBeLessThan(300);
      expect(gateway.calls).toHaveLength(1);
    });
  });
});

describe("gateway, given a callback", () => {
  const path = `/api/v1/webhooks/payments/${newId()}`;

  it("passes on the raw body and the headers for signatures, and no others", async () => {
    const body = '{ "spaced" :1}';
    const answer = await request("POST", path, {
      headers: {
        "Webhook-Id": "evt_1",
        "Webhook-Signature": "v1,abc",
        Cookie: "a=b",
        "X-Forwarded-For": "1.2.3.4",
      },
      body,
    });
    expect(answer.status).toBe(204);
    const { params, meta } = gateway.calls[0] as { params: Params<"orders.receivePayment">; meta: object };
    expect(params.body).toBe(body);
    expect(Object.keys(params.headers).sort()).toEqual(["content-type", "webhook-id", "webhook-signature"]);
    expect(meta).not.toHaveProperty("token");
  });

  it("that is forged, answers byte-identically for every reason", async () => {
    const reasons = ["The timestamp is stale.", "The signature is wrong."];
    gateway.on("orders.receivePayment", () => {
      throw fail("BAD_SIGNATURE", reasons.shift());
    });
    const answers = [await request("POST", path, { body: "1" }), await request("POST", path, { body: "2" })];
    const nobody = await request("POST", "/api/v1/webhooks/payments/nobody", { body: "3" });
    expect(answers.map(({ status }) => status)).toEqual([401, 401]);
    expect(new Set([...answers, nobody].map(({ text }) => text)).size).toBe(1);
  });

  it("whose bytes are no text, answers as to any forged one, and changes nothing", async () => {
    const genuine = '{"note":"\ufffd"}';
    const mutated = Buffer.from(genuine.replace("\ufffd", "\xff"), "latin1");
    const answer = await request("POST", path, { body: mutated });
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status: 401, code: "bad_signature" });
    expect(gateway.calls).toEqual([]);
    expect((await request("POST", path, { body: `\ufeff${genuine}` })).status).toBe(204);
    expect(gateway.calls[0]?.params).toMatchObject({ body: `\ufeff${genuine}` });
  });

  it("larger than 64 KB, answers 413", async () => {
    expect((await request("POST", path, { body: Buffer.alloc(64 * 1024 + 1) })).status).toBe(413);
  });
});

describe("gateway, given an image", () => {
  it("passes on its bytes, up to 5 MB", async () => {
    const image = { "Content-Type": "image/png" };
    const bytes = Buffer.alloc(5_000_000, 7);
    expect((await request("PUT", "/api/v1/me/avatar", { headers: image, body: bytes })).status).toBe(200);
    expect(gateway.calls[0]?.params).toEqual({ base64: bytes.toString("base64") });
    const larger = await request("PUT", "/api/v1/me/avatar", {
      headers: image,
      body: Buffer.alloc(5_000_001),
    });
    expect(larger.status).toBe(413);
  });

  it("of a type that could hold a script, answers 415", async () => {
    const svg = { headers: { "Content-Type": "image/svg+xml" }, body: "<svg/>" };
    expect((await request("PUT", "/api/v1/me/avatar", svg)).status).toBe(415);
  });

  it.each(["image/heic", "image/HEIF", "image/avif", "image/heic-sequence"])(
    "of the type %s, answers 415 and says what to send",
    async (type) => {
      const { status, body } = await request("PUT", "/api/v1/me/avatar", {
        headers: { "Content-Type": type },
        body: "x",
      });
      expect(status).toBe(415);
      expect(body.detail).toMatch(/HEIC.* not read.*Send a JPEG, PNG or WebP/);
    },
  );
});
