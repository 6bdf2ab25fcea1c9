import { describe, expect, it } from "@jest/globals";
import { Errors } from "moleculer";
import { type ErrorType, errorCatalogue, fail, invalidField } from "../../contracts/errors.ts";
import { problemOf } from "../../services/api/answers/problem.ts";
import { problemContent } from "../../services/api/docs/problem-schema.ts";

const context = { docsUrl: "https://x/docs/errors", instance: "urn:waybill:request:1", traceId: "abc" };

describe("problem documents", () => {
  it.each(Object.entries(errorCatalogue))(
    "of %s, have its status, title and code",
    (type, { status, title }) => {
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
    },
  );

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
  ])("of the framework's %p, have our texts and name no node", (error, code) => {
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
  ])("of an unforeseen error, %p, are INTERNAL without its text", (error) => {
    const { status, document, unexpected } = problemOf(error, context);
    expect({ status, unexpected }).toEqual({ status: 500, unexpected: true });
    expect(Object.keys(document).sort()).toEqual(["code", "instance", "status", "title", "trace_id", "type"]);
    expect(document.title).toBe(errorCatalogue.INTERNAL.title);
  });

  it("of a service's refused field, name it as the client does", () => {
    const { document } = problemOf(invalidField("birthDate", "past", "Must lie in the past."), context);
    expect(document.errors).toEqual([
      { field: "birth_date", rule: "past", message: "Must lie in the past." },
    ]);
  });

  it("of an error with data, contain them with the client's names", () => {
    const error = fail("ILLEGAL_TRANSITION", "It is paid.", { legalMoves: ["cancelled"] });
    expect(problemOf(error, context).document).toMatchObject({
      detail: "It is paid.",
      data: { legal_moves: ["cancelled"] },
    });
  });

  it("of a request that the framework cannot decode, are a bad request without its text", () => {
    const error = Object.assign(new Error("cannot decode order_id of orders"), {
      ...{ type: "UNABLE_DECODE_PARAM", data: { node: "orders-1", retryAfterSeconds: 9 } },
    });
    const { status, document, headers, unexpected } = problemOf(error, context);
    expect({ status, unexpected, headers }).toEqual({ status: 400, unexpected: false, headers: {} });
    expect(document).not.toHaveProperty("detail");
    expect(document).not.toHaveProperty("data");
    const busy = Object.assign(new Error("full"), { type: "QUEUE_FULL", data: { retryAfterSeconds: 9 } });
    expect(problemOf(busy, context).headers).toEqual({ "Retry-After": "1" });
  });

  it("of an error of our own, do not reveal it", () => {
    const { document, unexpected } = problemOf(fail("INTERNAL", "the table users is gone"), context);
    expect(unexpected).toBe(true);
    expect(document).not.toHaveProperty("detail");
  });

  it("add a detail to their title, and name the trace if there is one", () => {
    const detailOf = (error: unknown) => problemOf(error, context).document.detail;
    expect(detailOf(fail("NOT_FOUND"))).toBeUndefined();
    expect(detailOf(fail("NOT_FOUND", ""))).toBeUndefined();
    expect(detailOf(fail("NOT_FOUND", "There is no such order."))).toBe("There is no such order.");
    expect(detailOf({ type: "NOT_FOUND", message: 7 })).toBeUndefined();
    const { traceId: _, ...untraced } = context;
    expect(problemOf(fail("NOT_FOUND"), untraced).document).not.toHaveProperty("trace_id");
  });

  it.each([
    ["UNAUTHENTICATED", 'Bearer realm="waybill"'],
    ["SESSION_REVOKED", 'Bearer realm="waybill", error="invalid_token"'],
    ["BAD_SIGNATURE", "Signature"],
  ] as const)("of %s, name the missing part", (type, challenge) => {
    expect(problemOf(fail(type), context).headers).toEqual({ "WWW-Authenticate": challenge });
  });

  it.each([
    [0, "1"],
    [-3, "1"],
    ["soon", "1"],
    [undefined, "1"],
    [1, "1"],
    [1.01, "2"],
    [90, "90"],
  ])("of a limit for %p seconds, have Retry-After: %s", (retryAfterSeconds, expected) => {
    for (const type of ["TOO_MANY_REQUESTS", "SERVICE_UNAVAILABLE"] as const) {
      const { headers } = problemOf(fail(type, "", { retryAfterSeconds }), context);
      expect(headers).toEqual({ "Retry-After": expected });
    }
    expect(problemOf(fail("NOT_FOUND", "", { retryAfterSeconds }), context).headers).toEqual({});
  });

  it("of fields that the gateway refused, name them as they were sent", () => {
    const errors = [{ field: "birthDate", rule: "past", message: "Must lie in the past." }];
    const fieldOf = (data: object | undefined) =>
      problemOf(fail("VALIDATION_ERROR", undefined, data), context).document.errors;
    expect(fieldOf({ errors, asSent: true })).toEqual(errors);
    expect(fieldOf({ errors })).toEqual([{ ...errors[0], field: "birth_date" }]);
    expect([fieldOf({}), fieldOf(undefined), fieldOf({ errors: "all" })]).toEqual([[], [], []]);
    const found = [{ type: "required", field: "birthDate", message: "Is missing." }];
    const thrown = { type: "VALIDATION_ERROR", message: "", data: found };
    expect(problemOf(thrown, context).document.errors).toMatchObject([{ field: "birth_date" }]);
  });

  it("of invalid data, contain none", () => {
    for (const data of [null, "text", undefined]) {
      expect(problemOf({ type: "NOT_FOUND", message: "x", data }, context).document).not.toHaveProperty(
        "data",
      );
    }
  });

  it("that are uniform, name another error of a genuine request", () => {
    const isUniform = { ...context, isUniform: true };
    expect(problemOf(fail("NOT_FOUND", "No order."), isUniform).document).toMatchObject({
      detail: "No order.",
    });
    expect(problemOf(fail("BAD_SIGNATURE", "stale"), context).document).toMatchObject({ detail: "stale" });
  });

  it("of a limit, contain the time to wait", () => {
    const { headers } = problemOf(fail("TOO_MANY_REQUESTS", "", { retryAfterSeconds: 17.2 }), context);
    expect(headers["Retry-After"]).toBe("18");
  });

  it("that are uniform, are the same for every reason", () => {
    const isUniform = { ...context, isUniform: true };
    const texts = ["stale", "wrong key"].map((detail, index) =>
      JSON.stringify(
        problemOf(fail("BAD_SIGNATURE", detail), { ...isUniform, instance: String(index) }).document,
      ),
    );
    expect(texts[0]).toBe(texts[1]);
  });
});

describe("the documented problems of an operation", () => {
  const problems = [
    { code: "not_found", status: 404, title: "Not found" },
    { code: "validation_error", status: 422, title: "Not valid" },
  ];
  const contentOf = (isUniform: boolean) =>
    problemContent(problems, { docsUrl: "https://a.example/errors", isUniform }) as {
      schema: { allOf: object[] };
      examples: Record<string, { value: object }>;
    };
  const codes = { code: { enum: ["not_found", "validation_error"] } };

  it("name one occurrence in their examples, and require it", () => {
    const { schema, examples } = contentOf(false);
    expect(schema.allOf[1]).toEqual({ properties: codes, required: ["instance", "trace_id"] });
    expect(examples.not_found?.value).toEqual({
      ...{ type: "https://a.example/errors#not_found", title: "Not found", status: 404, code: "not_found" },
      ...{ instance: expect.any(String), trace_id: expect.any(String) },
    });
    expect(examples.validation_error?.value).toMatchObject({ errors: [{ rule: "numberMax" }] });
  });

  it("that are all the same, name no occurrence", () => {
    const { schema, examples } = contentOf(true);
    expect(schema.allOf[1]).toEqual({ properties: codes });
    expect(Object.keys(examples.not_found?.value ?? {}).sort()).toEqual(["code", "status", "title", "type"]);
  });
});
