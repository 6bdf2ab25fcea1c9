import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from "@jest/globals";
import { BankError } from "../../providers/banks/port.ts";
import { limitedFetch, mapped, underKeys } from "../../providers/banks/stripe-errors.ts";

const ANSWER_LIMIT_BYTES = 2_000_000;
const FIVE_SECONDS_MS = 5_000;

const failed = (more: object) => Promise.reject(Object.assign(new Error("secret sk_test_1"), more));
const unfinished = () => new Promise<never>(() => undefined);
const fakeTimers = () =>
  jest.useFakeTimers({ doNotFake: ["setImmediate", "nextTick", "queueMicrotask", "performance", "Date"] });
afterEach(() => void jest.useRealTimers());

describe("a failure of Stripe's", () => {
  it.each([
    [
      { type: "StripeInvalidRequestError", statusCode: 400, param: "amount" },
      "refused",
      "400 StripeInvalidRequestError amount",
    ],
    [
      { type: "StripeInvalidRequestError", statusCode: 404, code: "resource_missing" },
      "refused",
      "404 resource_missing",
    ],
    [{ type: "StripeCardError", statusCode: 402 }, "refused", "402 StripeCardError"],
    [{ type: "StripeIdempotencyError", statusCode: 400 }, "unclear", "400 StripeIdempotencyError"],
    [{ type: "StripeAPIError", statusCode: 500 }, "unclear", "500 StripeAPIError"],
    [{}, "unclear", "no answer Error"],
  ])("%j, is %s with a text that reveals nothing", async (failure, kind, words) => {
    await expect(mapped(failed(failure))).rejects.toMatchObject({
      ...{ kind, message: `Stripe: ${words}`, isAnswered: "statusCode" in failure },
    });
  });

  it("of our own, stays unchanged", async () => {
    const own = new BankError("unreadable", "a payment cannot be read");
    await expect(mapped(Promise.reject(own))).rejects.toBe(own);
  });

  it("without an answer within five seconds or a shorter limit, is unclear", async () => {
    fakeTimers();
    for (const [given, limitMs] of [
      [[], FIVE_SECONDS_MS],
      [[200], 200],
    ] as const) {
      const ended = jest.fn();
      mapped(unfinished(), ...given).catch(ended);
      await jest.advanceTimersByTimeAsync(limitMs - 1);
      expect(ended).not.toHaveBeenCalled();
      await jest.advanceTimersByTimeAsync(1);
      expect(ended).toHaveBeenCalledWith(expect.objectContaining({ kind: "unclear", isAnswered: false }));
    }
  });
});

describe("a request under a key of Stripe's", () => {
  const repeated = { statusCode: 500, headers: { "idempotent-replayed": "true" } };
  /** Fails so, one after the other, and then works. */
  const asking = async (failures: object[], timeoutMs = 60_000, done?: () => Promise<string | undefined>) => {
    const keys: string[] = [];
    const make = ({ idempotencyKey }: { idempotencyKey: string }) => {
      keys.push(idempotencyKey);
      const failure = failures.shift();
      return failure ? failed(failure) : Promise.resolve("made");
    };
    const ended = await underKeys("k", timeoutMs, make, done).catch((error: BankError) => error);
    return { ended, keys };
  };

  it("that works, is made once", async () => {
    expect(await asking([])).toEqual({ ended: "made", keys: ["k"] });
  });

  it("with a stored answer that is an error of Stripe's own, is made under the next key", async () => {
    expect(await asking([repeated, { ...repeated, statusCode: 503 }])).toEqual({
      ...{ ended: "made", keys: ["k", "k-2", "k-3"] },
    });
  });

  it("with that error each time, ends after five keys", async () => {
    const { ended, keys } = await asking(Array.from({ length: 9 }, () => repeated));
    expect(ended).toMatchObject({ kind: "unclear", isAnswered: true });
    expect(keys).toEqual(["k", "k-2", "k-3", "k-4", "k-5"]);
  });

  it.each([
    ["that is no error of Stripe's own", { ...repeated, statusCode: 499 }],
    ["that is not known to be a kept one", { statusCode: 500, headers: {} }],
    ["that is said not to be a kept one", { statusCode: 500, headers: { "idempotent-replayed": "false" } }],
    ["without headers", { statusCode: 500 }],
    ["of no answer", { headers: { "idempotent-replayed": "true" } }],
  ])("with a failure of %s, is not repeated", async (_, failure) => {
    const { ended, keys } = await asking([failure]);
    expect(ended).toMatchObject({ kind: "unclear" });
    expect(keys).toEqual(["k"]);
  });

  it("that succeeded in spite of its error, is not made again", async () => {
    expect(await asking([repeated], 60_000, async () => "found")).toEqual({ ended: "found", keys: ["k"] });
  });

  it("with hardly any time, is made once", async () => {
    expect(await asking([], 400)).toEqual({ ended: "made", keys: ["k"] });
    const { ended, keys } = await asking([repeated], 400);
    expect(ended).toMatchObject({ kind: "unclear", message: "Stripe: no time left" });
    expect(keys).toEqual(["k"]);
  });

  it("without an answer, ends at its time limit", async () => {
    fakeTimers();
    const ended = jest.fn();
    underKeys("k", 700, unfinished).catch(ended);
    await jest.advanceTimersByTimeAsync(700);
    expect(ended).toHaveBeenCalledWith(expect.objectContaining({ kind: "unclear" }));
  });
});

describe("the fetch for Stripe's library", () => {
  let server: Server;
  let url: string;
  beforeAll(async () => {
    server = createServer((request, response) => {
      const [, status, bytes] = (request.url ?? "").split("/").map(Number);
      if (status) response.writeHead(status, { "x-of": "Stripe" }).end(Buffer.alloc(bytes ?? 0, "x"));
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });

  it.each([
    [200, 3, "xxx"],
    [500, 3, "xxx"],
    [200, 0, ""],
    [204, 0, ""],
    [205, 0, ""],
    [304, 0, ""],
    [307, 0, ""],
  ])("answered by %i with %i bytes, returns the same", async (status, bytes, text) => {
    const answer = await limitedFetch(`${url}/${status}/${bytes}`);
    expect(answer.status).toBe(status);
    expect(answer.headers.get("x-of")).toBe("Stripe");
    expect(await answer.text()).toBe(text);
  });

  it("reads an answer up to its limit", async () => {
    const answer = await limitedFetch(`${url}/200/${ANSWER_LIMIT_BYTES}`);
    expect((await answer.text()).length).toBe(ANSWER_LIMIT_BYTES);
    await expect(limitedFetch(`${url}/200/${ANSWER_LIMIT_BYTES + 1}`)).rejects.toThrow("too long");
  });

  it("without an answer, ends after five seconds", async () => {
    fakeTimers();
    const ended = jest.fn();
    limitedFetch(`${url}/0`).catch(ended);
    await jest.advanceTimersByTimeAsync(FIVE_SECONDS_MS - 1);
    expect(ended).not.toHaveBeenCalled();
    await jest.advanceTimersByTimeAsync(1);
    expect(ended).toHaveBeenCalledWith(expect.objectContaining({ name: "TimeoutError" }));
  });
});
