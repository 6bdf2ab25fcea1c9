import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { ServiceBroker } from "moleculer";
import { type SharedServer, sharedServer } from "moleculer-grpc";
import { errorCatalogue, fail } from "../../contracts/errors.ts";
import { cluster, EMPTY_ECHO, errorNamed, type Node, offeredBy, probeService } from "../support/bridge.ts";
import { eventually } from "../support/eventually.ts";
import { filesOfConfirm, filesThatRan } from "../support/files-that-ran.ts";

const CLASSES = [
  "MoleculerError",
  "MoleculerRetryableError",
  "MoleculerServerError",
  "MoleculerClientError",
  "ValidationError",
  "ServiceNotFoundError",
  "ServiceNotAvailableError",
  "RequestTimeoutError",
  "RequestSkippedError",
  "RequestRejectedError",
  "QueueIsFullError",
  "MaxCallLevelError",
  "ServiceSchemaError",
  "BrokerOptionsError",
  "ProtocolVersionMismatchError",
  "InvalidPacketDataError",
];

/** Two nodes each: over a stream, and in one process with a shared server. */
const ways = { "a stream": cluster(), "one process": cluster() };
let caller: ServiceBroker;
let server: Node;

async function start(nodes: ReturnType<typeof cluster>, bridge: { listener?: SharedServer }): Promise<void> {
  [server, { broker: caller }] = await Promise.all([
    nodes.server({
      nodeID: "server",
      bridge,
      services: (state) => [probeService(state, { actions: { ...probeService(state).actions, ...extra } })],
    }),
    nodes.start({ nodeID: "caller", bridge, services: () => [{ name: "front", actions: frontActions }] }),
  ]);
  await offeredBy(caller, "probe.echo", 1);
}

const extra = {
  fail(ctx: { params: { name: string; message: string } }) {
    if (ctx.params.name === "large data") {
      throw fail("ILLEGAL_TRANSITION", "Too much to tell.", { list: "ü".repeat(4_000) });
    }
    if (ctx.params.name in errorCatalogue) {
      throw fail(ctx.params.name as keyof typeof errorCatalogue, ctx.params.message, { fact: 1 });
    }
    throw errorNamed(ctx.params.name, ctx.params.message);
  },
};
const frontActions = {
  ask: (ctx: { call(name: string, params: object): Promise<unknown> }) => ctx.call("probe.whoCalls", {}),
};

/** The error that a call must end with. */
function failureOf(
  call: Promise<unknown>,
): Promise<Error & { type?: string; retryable?: boolean; nodeID?: string }> {
  return call.then(
    () => {
      throw new Error("the call did not fail");
    },
    (error) => error,
  );
}

/** The properties of an error that a reader can see. */
function seen(error: unknown) {
  const { name, message, code, type, data, retryable } = error as Record<string, unknown>;
  return { class: (error as Error).constructor.name, name, message, code, type, data, retryable };
}

describe.each(Object.entries(ways))("the bridge over %s", (way, nodes) => {
  beforeAll(() => start(nodes, way === "one process" ? { listener: sharedServer() } : {}));
  afterAll(() => nodes.stopAll());

  it("runs the files that docs/architecture.md names, and no other", async () => {
    const echo = () => caller.call("probe.echo", EMPTY_ECHO);
    await echo(); // opens the stream
    const folder = "packages/moleculer-grpc/";
    // Without a connection there are no frames.
    const expected = filesOfConfirm(folder).filter((file) => way === "a stream" || !/frame/.test(file));
    expect(await filesThatRan(folder, echo)).toEqual(expected);
  });

  describe("a call", () => {
    it("with every kind of value, returns it unchanged", async () => {
      const params = {
        text: "grüße 🚲",
        flag: true,
        big: 9_007_199_254_740_991,
        small: -2_147_483_648,
        ratio: 0.1,
        colour: "deep_blue",
        amount: { amountMinor: 1_250, currency: "EUR" },
        maybeText: "",
        maybeFlag: false,
        maybeBig: 0,
        maybeColour: "red",
        lines: [
          { title: "a", quantity: 2, unitPrice: { amountMinor: 1, currency: "EUR" } },
          { title: "", quantity: 0 },
        ],
        words: ["", "x"],
        headers: { "webhook-id": "1", constructor: "no trouble" },
        settings: { key: "value" },
        version: 4_294_967_295,
      };
      await expect(caller.call("probe.echo", params)).resolves.toEqual(params);
    });

    it("with zeros, false and empty texts, keeps them, and absent values stay absent", async () => {
      const answer = await caller.call("probe.echo", {
        ...EMPTY_ECHO,
        maybeText: undefined,
        maybeFlag: null,
      });
      expect(answer).toStrictEqual({ ...EMPTY_ECHO, settings: {} });
    });

    it("with an empty optional list or map, passes it on as absent", async () => {
      await caller.call("probe.echo", EMPTY_ECHO);
      expect(server.state.contexts.at(-1)?.params).toStrictEqual(EMPTY_ECHO);
    });

    it("of an action without a proto, uses the transporter", async () => {
      await expect(caller.call("probe.nodeOf")).resolves.toEqual({ node: "server" });
    });

    it("carries the meta that contracts name, and no other", async () => {
      const meta = {
        token: "ey.J.x",
        requestId: "r-1",
        clientIp: "::1",
        idempotency: { key: "schlüssel 1", bodyHash: "00ff" },
        role: "admin",
        user: { id: "somebody" },
      };
      const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", cookie: "x" };
      const options = { meta, headers, requestID: "req-7", timeout: 20_000 };
      const answer = await caller.call<Record<string, unknown>, object>("probe.whoCalls", {}, options);
      const { role, user, ...known } = meta;
      expect(JSON.parse(answer.meta as string)).toEqual(known);
      expect(JSON.parse(answer.headers as string)).toEqual({ traceparent: headers.traceparent });
      expect(JSON.parse(answer.locals as string)).toEqual({ peer: "caller", wire: "grpc", aborted: false });
      expect(answer).toMatchObject({ requestId: "req-7", level: 1 });
      expect(answer.timeoutMs).toBeGreaterThan(0);
      expect(answer.timeoutMs).toBeLessThanOrEqual(20_000);
    });

    it("from within an action, passes on the level, the calling service, and the remaining time only", async () => {
      const answer = await caller.call<Record<string, unknown>, object>("front.ask", {}, { timeout: 7_000 });
      expect(answer).toMatchObject({ level: 2, caller: "front" });
      expect(answer.timeoutMs).toBeLessThanOrEqual(7_000);
    });

    it.each(CLASSES)("that throws a %s, throws the same here", async (name) => {
      const thrown = await failureOf(caller.call("probe.fail", { name, message: "grüße — 1" }));
      expect(seen(thrown)).toEqual(seen(errorNamed(name, "grüße — 1")));
      expect(thrown.nodeID).toBeDefined();
    });

    it.each(Object.keys(errorCatalogue))("that fails with %s, fails with it here", async (type) => {
      const thrown = await failureOf(caller.call("probe.fail", { name: type, message: "why" }));
      expect(seen(thrown)).toEqual(seen(fail(type as keyof typeof errorCatalogue, "why", { fact: 1 })));
    });

    it("with an unforeseen error, throws INTERNAL without its text", async () => {
      const thrown = await failureOf(
        caller.call("probe.fail", { name: "TypeError", message: "password is 1234" }),
      );
      expect(seen(thrown)).toEqual(seen(fail("INTERNAL")));
      expect(JSON.stringify({ ...thrown, message: thrown.message, stack: thrown.stack })).not.toContain(
        "1234",
      );
    });

    it("that fails with more than 6 KB of data, keeps all but the data", async () => {
      const thrown = await failureOf(caller.call("probe.fail", { name: "large data", message: "" }));
      expect(seen(thrown)).toEqual(seen(fail("ILLEGAL_TRANSITION", "Too much to tell.")));
    });
  });

  describe("parameters and answers that do not match the proto", () => {
    const wrong: [string, object, string, string][] = [
      ["an unknown field", { sequel: 1 }, "sequel", "unknown"],
      ["a fraction", { big: 12.7 }, "big", "numberInteger"],
      ["a fraction in text", { big: "12.7" }, "big", "numberInteger"],
      ["no number", { big: "abc" }, "big", "numberInteger"],
      ["an unsafe integer", { big: 2 ** 53 }, "big", "numberInteger"],
      ["an unsafe integer in text", { big: "9007199254740993" }, "big", "numberInteger"],
      ["an int32 too large", { small: 2 ** 31 }, "small", "numberInteger"],
      ["NaN", { ratio: Number.NaN }, "ratio", "number"],
      ["a negative uint32", { version: -1 }, "version", "numberInteger"],
      ["a number for a text", { text: 5 }, "text", "string"],
      ["a lone surrogate", { text: "\ud800" }, "text", "string"],
      ["a text for a boolean", { flag: "true" }, "flag", "boolean"],
      ["an unknown constant", { colour: "green" }, "colour", "enumValue"],
      ["the constant of the wire", { colour: "COLOUR_RED" }, "colour", "enumValue"],
      ["a date", { text: new Date(0) }, "text", "string"],
      ["a date for a message", { amount: new Date(0) }, "amount", "object"],
      [
        "a message with a wrong field",
        { lines: [{ title: "a", quantity: 1.5 }] },
        "lines[0].quantity",
        "numberInteger",
      ],
      ["an object for a list", { lines: {} }, "lines", "array"],
      ["a number in a map", { headers: { a: 1 } }, "headers.a", "string"],
      ["a missing field", { text: undefined }, "text", "required"],
      ["a missing message", { amount: undefined }, "amount", "required"],
    ];

    it.each(wrong)("%s is refused before it is sent, by name", async (_, change, field, rule) => {
      const call = caller.call("probe.echo", { ...EMPTY_ECHO, ...change });
      await expect(call).rejects.toMatchObject({
        type: "VALIDATION_ERROR",
        code: 422,
        data: { errors: [{ field, rule }] },
      });
    });

    it("values that match the proto but not the action are refused by the action's own validation", async () => {
      const call = caller.call("probe.echo", { ...EMPTY_ECHO, text: "x".repeat(2_001) });
      await expect(call).rejects.toMatchObject({ name: "ValidationError", data: [{ field: "text" }] });
    });

    it("an exact number as text, as in query parameters, is a number", async () => {
      const answer = await caller.call("probe.echo", { ...EMPTY_ECHO, small: "20", ratio: "-1.5" });
      expect(answer).toMatchObject({ small: 20, ratio: -1.5 });
    });

    it("a call of more than 1 MiB is refused with PAYLOAD_TOO_LARGE", async () => {
      const call = caller.call("probe.echo", { ...EMPTY_ECHO, text: "x".repeat(1024 * 1024) });
      await expect(call).rejects.toMatchObject({ type: "PAYLOAD_TOO_LARGE", code: 413 });
    });

    it.each(["unknown", "missing", "date", "unsafe", "large"])(
      "an answer with something %s is INTERNAL",
      async (kind) => {
        await expect(caller.call("probe.drift", { kind })).rejects.toMatchObject({
          type: "INTERNAL",
          retryable: false,
        });
      },
    );
  });

  describe("the deadline", () => {
    it("of a call without an answer fails it with DEADLINE_EXCEEDED, without a repeat, and aborts its handler", async () => {
      const call = caller.call("probe.wait", { key: "late" }, { timeout: 500 });
      await expect(call).rejects.toMatchObject({ type: "DEADLINE_EXCEEDED", retryable: false });
      expect(server.state.started).toEqual(["late"]);
      await eventually(() => expect(server.state.contexts.at(-1)?.locals.signal.aborted).toBe(true));
      server.state.waiting.get("late")?.();
    });
  });
});
