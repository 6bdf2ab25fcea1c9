import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { requestsTo } from "../support/requests.ts";

let gateway: TestGateway;
let raw: ReturnType<typeof requestsTo>["raw"];
/** The request that an attacker hides behind another one, for the connection of another client. */
let hidden: string;

beforeAll(async () => {
  gateway = await startGateway();
  const authorization = `Bearer ${await gateway.identity.token()}`;
  ({ raw } = requestsTo(gateway, authorization));
  hidden = `GET /api/v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\nConnection: close\r\n\r\n`;
});
afterAll(() => gateway.stop());
beforeEach(() => gateway.reset());

const POST = "POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
const CHUNKED = "Transfer-Encoding: chunked\r\n";

const answersIn = (text: string) => text.split("HTTP/1.1 ").length - 1;

/** Each of them means one thing to one program and another thing to the next. */
const forms: [name: string, bytes: string][] = [
  ["a length and chunks", `${POST}Content-Length: 5\r\n${CHUNKED}\r\n0\r\n\r\n`],
  ["chunks and a length", `${POST}${CHUNKED}Content-Length: 5\r\n\r\n0\r\n\r\n`],
  ["two lengths", `${POST}Content-Length: 0\r\nContent-Length: 2\r\n\r\n{}`],
  ["twice the same length", `${POST}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`],
  ["a list of lengths", `${POST}Content-Length: 2, 2\r\n\r\n{}`],
  ["a length with a sign", `${POST}Content-Length: +2\r\n\r\n{}`],
  ["a negative length", `${POST}Content-Length: -2\r\n\r\n{}`],
  ["a length in hexadecimal", `${POST}Content-Length: 0x2\r\n\r\n{}`],
  ["a length beyond every number", `${POST}Content-Length: 18446744073709551618\r\n\r\n{}`],
  ["an unknown coding", `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
  ["two codings", `${POST}${CHUNKED}Transfer-Encoding: identity\r\n\r\n0\r\n\r\n`],
  ["chunks that are not the last coding", `${POST}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`],
  ["a coding behind a control character", `${POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`],
  ["a space before the colon", `${POST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`],
  [
    "a header on a folded line",
    `${POST}X-Fold: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}`,
  ],
  ["a line that ends in LF alone", `${POST}X-Line: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ["a line that ends in CR alone", `${POST}X-Line: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ["a NUL in a header", `${POST}X-Nul: a\0b\r\nContent-Length: 2\r\n\r\n{}`],
  ["a name that is no token", `${POST}X Length: 2\r\nContent-Length: 2\r\n\r\n{}`],
  ["a chunk whose size is no number", `${POST}${CHUNKED}\r\n-1\r\n{}\r\n0\r\n\r\n`],
  ["a chunk whose size has a prefix", `${POST}${CHUNKED}\r\n0x2\r\n{}\r\n0\r\n\r\n`],
  ["a chunk whose size is beyond every number", `${POST}${CHUNKED}\r\n10000000000000002\r\n{}\r\n0\r\n\r\n`],
  ["a chunk that ends in LF alone", `${POST}${CHUNKED}\r\n2\n{}\n0\n\n`],
  ["a chunk that is longer than it says", `${POST}${CHUNKED}\r\n1\r\n{}\r\n0\r\n\r\n`],
  ["no host", "GET /api/v1/products HTTP/1.1\r\n\r\n"],
  ["two hosts", "GET /api/v1/products HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"],
  ["a version that there is not", "GET /api/v1/products HTTP/9.9\r\nHost: x\r\n\r\n"],
  ["the beginning of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
];

describe("gateway, given an ambiguous request", () => {
  it.each(forms)(
    "by %s, answers 400 once, closes, and does not read the hidden request",
    async (_, bytes) => {
      const text = await raw(bytes + hidden);
      expect(text).toMatch(/^HTTP\/1\.1 400 [\s\S]*\r\nConnection: close[\s\S]*"code":"bad_request"/i);
      expect(answersIn(text)).toBe(1);
      expect(gateway.calls).toEqual([]);
    },
  );

  it("of HTTP/1.0, does not take its chunks for the end of the body", async () => {
    const text = await raw(`${POST.replace("1.1", "1.0")}${CHUNKED}\r\n0\r\n\r\n${hidden}`);
    expect(answersIn(text)).toBeLessThanOrEqual(1);
    expect(gateway.calls).toEqual([]);
  });

  it("with an unexpected body, reads it as a body", async () => {
    const get = `GET /api/v1/products HTTP/1.1\r\nHost: x\r\nContent-Length: ${hidden.length}\r\n`;
    const text = await raw(`${get}Connection: close\r\n\r\n${hidden}`);
    expect(text).toMatch(/^HTTP\/1\.1 401 /);
    expect(answersIn(text)).toBe(1);
    expect(gateway.calls).toEqual([]);
  });

  it("with invalid bytes behind a running request, does not answer out of turn", async () => {
    const first = hidden.replace("Connection: close\r\n", "");
    const list = Promise.withResolvers<{ items: [] }>();
    gateway.on("orders.list", () => list.promise);
    const text = raw(`${first}nonsense\r\n\r\n`);
    // A later request on a connection of its own was answered, so the server has read the smuggled bytes before.
    expect(await raw(hidden.replace("/orders", "/nothing"))).toMatch(/^HTTP\/1\.1 404/);
    list.resolve({ items: [] });
    expect(await text).not.toMatch(/^HTTP\/1\.1 400/);
  });

  it("two valid ones at once, answers both in order", async () => {
    const first = hidden.replace("Connection: close\r\n", "").replace("/orders", "/nothing");
    const text = await raw(first + hidden);
    expect([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(["404", "200"]);
  });
});
