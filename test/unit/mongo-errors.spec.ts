import { describe, expect, it } from "@jest/globals";
import * as mongodb from "mongodb";
import { TimeoutError } from "../../lib/timeout.ts";
import { isDuplicate, isUnavailable } from "../../mixins/documents/mongo-errors.ts";

const server = (code: number, more: object = {}) =>
  new mongodb.MongoServerError({ message: "from the server", code, ...more });
const bulk = (codes: number[], unconfirmed = false) =>
  Object.assign(new Error("bulk"), {
    name: "MongoBulkWriteError",
    code: codes[0],
    writeErrors: codes.map((code) => ({ code })),
    result: { getWriteConcernError: () => (unconfirmed ? { code: 64 } : undefined) },
  });
const labelled = () => {
  const error = server(1);
  error.addErrorLabel("RetryableWriteError");
  return error;
};

describe("an error of MongoDB", () => {
  it.each([
    ["a network that broke", new mongodb.MongoNetworkError("connection 1 closed")],
    ["a socket without an answer", new mongodb.MongoNetworkTimeoutError("timed out")],
    ["a socket that had ended", Object.assign(new Error("ended by the other party"), { code: "EPIPE" })],
    ["a batch that never arrived", Object.assign(new Error("refused"), { name: "MongoBulkWriteError" })],
    ["no server", new mongodb.MongoServerSelectionError("none", {} as never)],
    ["a client that closes", new mongodb.MongoTopologyClosedError("closed")],
    ["no majority in time", new mongodb.MongoWriteConcernError({ writeConcernError: { code: 64 } } as never)],
    ["a primary that stepped down", server(189)],
    ["not the primary", server(10_107)],
    ["a server that shuts down", server(91)],
    ["a query beyond its time", server(50)],
    ["a password that changed", server(18)],
    ["what the driver calls retryable", labelled()],
    ["known documents that no majority confirmed", bulk([11_000], true)],
    ["our own time limit", new TimeoutError(10)],
  ])("for %s, means that the store is unavailable", (_what, error) => {
    expect(isUnavailable(error)).toBe(true);
    expect(isDuplicate(error)).toBe(false);
  });

  it.each([
    ["a document too large", server(10_334)],
    ["a bad value", server(2)],
    ["a mistake of ours", new TypeError("undefined is not a function")],
    ["nothing at all", undefined],
  ])("for %s, does not", (_what, error) => {
    expect(isUnavailable(error)).toBe(false);
    expect(isDuplicate(error)).toBe(false);
  });

  it("about known ids, and about nothing else, is a duplicate", () => {
    expect(isDuplicate(server(11_000))).toBe(true);
    expect(isDuplicate(bulk([11_000, 11_000]))).toBe(true);
    expect(isDuplicate(bulk([11_000, 2]))).toBe(false);
    expect(isUnavailable(bulk([11_000]))).toBe(false);
  });

  it("has a name that the driver still uses", () => {
    const given = Object.keys(mongodb).filter((name) => isUnavailable({ name }));
    expect(given).toEqual(
      expect.arrayContaining(["MongoNetworkError", "MongoServerSelectionError", "MongoWriteConcernError"]),
    );
    expect(given).toHaveLength(10);
  });
});
