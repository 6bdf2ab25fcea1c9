import { describe, expect, it } from "@jest/globals";
import { Errors } from "moleculer";
import { catalogue, type ErrorType, fail, invalidField } from "../../contracts/errors.ts";
import { problemOf } from "../../services/api/problem.ts";

const context = { docsUrl: "https://x/docs/errors", instance: "urn:waybill:request:1", traceId: "abc" };

describe("problem documents", () => {
  it.each(Object.entries(catalogue))("of %s, have its status, title and code", (type, { status, title }) => {
    const { document, headers, ...problem } = problemOf(fail(type as ErrorType), context);
    const code = type.toLowerCase();
    expect(problem.status).toBe(status);
    expect(document).toMatchObject({
      status,
      title,
      code,
      type: `https://x/docs/errors#${code}`,
      trace_id: "abc",
    });
    expect("WWW-Authenticate" in headers).toBe(status === 401);
    expect("Retry-After" in headers).toBe(status === 429 || status === 503);
  });

  it.each([
    [new Errors.ServiceNotFoundError({ action: "orders.get", nodeID: "orders-1" }), "service_unavailable"],
    [
      new Errors.ServiceNotAvailableError({ action: "orders.get", nodeID: "orders-1" }),
      "service_unavailable",
    ],
    [Object.assign(new Error("disconnected"), { type: "BAD_GATEWAY", code: 502 }), "service_unavailable"],
    [new Errors.RequestRejectedError({ action: "orders.get", nodeID: "orders-1" }), "service_unavailable"],
    [new Errors.RequestTimeoutError({ action: "orders.get", nodeID: "orders-1" }), "deadline_exceeded"],
    [new Errors.RequestSkippedError({ action: "orders.get", nodeID: "orders-1" }), "deadline_exceeded"],
    [new Errors.QueueIsFullError({ action: "orders.get", nodeID: "orders-1" }), "overloaded"],
  ])("of the framework's %p, are in our words and name no node", (error, code) => {
    const { status, headers, document, unexpected } = problemOf(error, context);
    expect({ status, code: document.code, retry: headers["Retry-After"], unexpected }).toEqual({
      status: 503,
      code,
      retry: "1",
      unexpected: false,
    });
    expect(JSON.stringify(document)).not.toContain("orders");
  });

  it.each([
    [new Error("select * from users")],
    [new TypeError("x is not a function")],
    [Object.assign(new Error("duplicate key value"), { code: "23505", detail: "Key (email)=(a@b.c)" })],
    [new Errors.MoleculerError("at /srv/app/x.ts", 500, "SOMETHING", { secret: "s" })],
    [new Errors.MaxCallLevelError({ nodeID: "n", level: 9 })],
    [{ type: "toString" }],
    [{ type: "__proto__" }],
    ["a string"],
    [undefined],
    [null],
  ])("of what nobody foresaw, %p, are INTERNAL and tell nothing", (error) => {
    const { status, document, unexpected } = problemOf(error, context);
    expect({ status, unexpected }).toEqual({ status: 500, unexpected: true });
    expect(Object.keys(document).sort()).toEqual(["code", "instance", "status", "title", "trace_id", "type"]);
    expect(document.title).toBe(catalogue.INTERNAL.title);
  });

  it("of a service's refused field, name it as the client does", () => {
    const { document } = problemOf(invalidField("birthDate", "past", "Must lie in the past."), context);
    expect(document.errors).toEqual([
      { field: "birth_date", rule: "past", message: "Must lie in the past." },
    ]);
  });

  it("of an error with facts, carry them in the client's names", () => {
    const error = fail("ILLEGAL_TRANSITION", "It is paid.", { legalMoves: ["cancelled"] });
    expect(problemOf(error, context).document).toMatchObject({
      detail: "It is paid.",
      data: { legal_moves: ["cancelled"] },
    });
  });

  it("of a limit, say how long to wait", () => {
    const { headers } = problemOf(fail("TOO_MANY_REQUESTS", "", { retryAfterSeconds: 17.2 }), context);
    expect(headers["Retry-After"]).toBe("18");
  });

  it("that are sealed, are the same whatever was wrong", () => {
    const sealed = { ...context, sealed: true };
    const texts = ["stale", "wrong key"].map((detail, index) =>
      JSON.stringify(
        problemOf(fail("BAD_SIGNATURE", detail), { ...sealed, instance: String(index) }).document,
      ),
    );
    expect(texts[0]).toBe(texts[1]);
  });
});
