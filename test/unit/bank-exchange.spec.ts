import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from "@jest/globals";
import { exchange } from "../../providers/banks/http.ts";
import type { BankError } from "../../providers/banks/port.ts";

const LIMIT_BYTES = 65_536;
const FIVE_SECONDS_MS = 5_000;

describe("an exchange with a bank", () => {
  let server: Server;
  let url: string;
  let answer: { status: number; body: string } | undefined;
  let seen: { type: string | undefined; body: string } | undefined;
  beforeAll(async () => {
    server = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        seen = { type: request.headers["content-type"], body };
        if (answer) response.writeHead(answer.status).end(answer.body);
      });
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });
  afterEach(() => void jest.useRealTimers());
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });

  const ask = (more: { body?: object; timeoutMs?: number } = {}) =>
    exchange({ method: more.body ? "POST" : "GET", url: new URL(url), headers: {}, ...more });
  const answered = (status: number, body = "{}") => {
    answer = { status, body };
    return ask().then(
      () => "done",
      (error: BankError) => error.kind,
    );
  };

  it("with a success, returns the bank's answer", async () => {
    answer = { status: 200, body: '{"id":1}' };
    expect(await ask()).toEqual({ id: 1 });
    for (const status of [200, 201, 202, 299]) expect(await answered(status)).toBe("done");
  });

  it.each([
    ["refused", [400, 402, 405, 410, 422, 426, 430, 499]],
    ["unclear", [300, 302, 399, 401, 403, 408, 409, 425, 429, 500, 501, 502, 503, 504]],
  ])("with an answer that makes it %s, returns that: %j", async (kind, statuses) => {
    for (const status of statuses) {
      expect({ status, kind: await answered(status) }).toEqual({ status, kind });
    }
  });

  it("about an unknown object, returns undefined; 405 is an error", async () => {
    answer = { status: 404, body: "" };
    expect(await ask()).toBeUndefined();
  });

  it("sends its body as JSON, and nothing without a body", async () => {
    answer = { status: 200, body: "{}" };
    await ask({ body: { id: 1 } });
    expect(seen).toEqual({ type: "application/json", body: '{"id":1}' });
    await ask();
    expect(seen).toEqual({ type: undefined, body: "" });
  });

  it("reads an answer up to its limit", async () => {
    const text = (bytes: number) => JSON.stringify("x".repeat(bytes - 2));
    expect(await answered(200, text(LIMIT_BYTES))).toBe("done");
    expect(await answered(200, text(LIMIT_BYTES + 1))).toBe("unclear");
  });

  it("with a bank that does not answer, ends after five seconds, also with a longer limit", async () => {
    jest.useFakeTimers({ doNotFake: ["setImmediate", "nextTick", "queueMicrotask", "performance", "Date"] });
    answer = undefined;
    for (const timeoutMs of [undefined, 60_000]) {
      const ended = jest.fn();
      ask({ ...(timeoutMs && { timeoutMs }) }).catch(ended);
      await jest.advanceTimersByTimeAsync(FIVE_SECONDS_MS - 1);
      expect(ended).not.toHaveBeenCalled();
      await jest.advanceTimersByTimeAsync(1);
      expect(ended).toHaveBeenCalledWith(
        expect.objectContaining({
          ...{ kind: "unclear", isAnswered: false },
          message: `no answer from ${new URL(url).host}: timeout`,
        }),
      );
    }
  });

  it("with an unreachable bank, returns the reason", async () => {
    const gone = createServer().listen(0, "127.0.0.1");
    await once(gone, "listening");
    const { port } = gone.address() as AddressInfo;
    await new Promise((closed) => gone.close(closed));
    const away = exchange({ method: "GET", url: new URL(`http://127.0.0.1:${port}`), headers: {} });
    await expect(away).rejects.toThrow(`no answer from 127.0.0.1:${port}: ECONNREFUSED`);
    const wrong = exchange({ method: "GET", url: new URL(url), headers: { "x y": "" } });
    await expect(wrong).rejects.toThrow(/^no answer from 127\.0\.0\.1:\d+: .*x y/);
  });
});
