import { Metadata, status as Status } from "@grpc/grpc-js";
import type { MethodDefinition } from "@grpc/proto-loader";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { errorCatalogue } from "../../contracts/errors.ts";
import {
  cluster,
  credential,
  EMPTY_ECHO,
  errorNamed,
  NAMES,
  type Node,
  plainClient,
  SERVICE,
} from "../support/bridge.ts";
import { eventually } from "../support/eventually.ts";
import { definitionOf, reflect } from "../support/reflection.ts";

/** An EchoMessage as a client sees it that knows only the proto. */
const ECHO = { ...EMPTY_ECHO, colour: "COLOUR_RED", big: 0 };

const nodes = cluster();
let server: Node;
let client: ReturnType<typeof plainClient>;

beforeAll(async () => {
  server = await nodes.server({ nodeID: "server" });
  client = plainClient(server.address);
});
afterAll(async () => {
  client.close();
  await nodes.stopAll();
});

function anonymous(metadata: Record<string, string> = {}): Metadata {
  return Metadata.fromHttp2Headers(metadata);
}

describe("a plain gRPC client", () => {
  it("with the proto and a credential, calls the same methods", async () => {
    const answer = await client.call("Echo", { ...ECHO, text: "hello", maybeColour: "COLOUR_DEEP_BLUE" });
    expect(answer).toMatchObject({ text: "hello", maybeColour: 2 });
    const metadata = credential(`/${SERVICE}/WhoCalls`);
    metadata.set("authorization", "Bearer a-token");
    metadata.set("x-request-id", "r-9");
    const who = await client.call("WhoCalls", {}, { metadata });
    expect(JSON.parse(who.meta as string)).toEqual({ token: "a-token", requestId: "r-9" });
    expect(JSON.parse(who.locals as string)).toEqual({ peer: "plain-client", wire: "grpc", aborted: false });
  });

  it("with additional metadata, cannot set anything in the context", async () => {
    const metadata = credential(`/${SERVICE}/WhoCalls`);
    for (const [key, value] of Object.entries({
      role: "admin",
      caller: '{"role":"admin"}',
      "waybill-level": "-7",
      "waybill-client-ip": "%",
      "waybill-role": "admin",
      __proto__: "x",
    })) {
      metadata.set(key, value);
    }
    const who = await client.call("WhoCalls", {}, { metadata });
    expect(JSON.parse(who.meta as string)).toEqual({});
    expect(JSON.parse(who.locals as string)).toEqual({ peer: "plain-client", wire: "grpc", aborted: false });
  });

  const path = `/${SERVICE}/Echo`;
  it.each<[string, () => Metadata]>([
    ["without a credential", () => anonymous()],
    ["with nonsense for one", () => anonymous({ "waybill-credential": "v1.x.1.y" })],
    ["with one by another secret", () => credential(path, { secret: "another secret that nobody has" })],
    ["with one of another method", () => credential(`/${SERVICE}/Fail`)],
    ["with an expired one", () => credential(path, { ageMs: 36_000 })],
    ["with one from the future", () => credential(path, { ageMs: -36_000 })],
    ["with one whose expiry was moved", () => moved(credential(path))],
  ])("%s, is UNAUTHENTICATED and reaches no action", async (_, metadata) => {
    const before = server.state.contexts.length;
    const call = client.call("Echo", ECHO, { metadata: metadata() });
    await expect(call).rejects.toMatchObject({
      code: Status.UNAUTHENTICATED,
      details: "No valid credential.",
    });
    expect(server.state.contexts).toHaveLength(before);
  });

  it("with a clock that is slightly late, is accepted", async () => {
    await expect(
      client.call("Echo", ECHO, { metadata: credential(path, { ageMs: 33_000 }) }),
    ).resolves.toBeDefined();
  });

  it.each([
    ["an int64 beyond what a number holds", { ...ECHO, big: "9007199254740993" }, "big"],
    ["the largest int64", { ...ECHO, big: "9223372036854775807" }, "big"],
    ["an unknown constant", { ...ECHO, colour: 7 }, "colour"],
    ["an infinite number", { ...ECHO, ratio: Number.POSITIVE_INFINITY }, "ratio"],
    ["a list with nothing for a constant", { ...ECHO, maybeBig: "-9007199254740993" }, "maybeBig"],
  ])("that sends %s, gets INVALID_ARGUMENT with the field's name", async (_, message, field) => {
    const error = await client.call("Echo", message).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: Status.INVALID_ARGUMENT });
    expect(error.details).toContain(`${field}: `);
    expect(JSON.parse(error.metadata.get(NAMES.error)[0].toString()).data.errors[0].field).toBe(field);
  });

  it("that sends invalid bytes, gets INVALID_ARGUMENT", async () => {
    const call = new Promise((done, failed) => {
      const bytes = () => Buffer.from([0xff, 0xff, 0xff]);
      const answered = (error: Error | null) => (error ? failed(error) : done(undefined));
      client.client.makeUnaryRequest(path, bytes, (answer) => answer, {}, credential(path), answered);
    });
    await expect(call).rejects.toMatchObject({ code: Status.INVALID_ARGUMENT });
  });

  it("that sends more than 1 MiB, gets RESOURCE_EXHAUSTED", async () => {
    const call = client.call("Echo", { ...ECHO, text: "x".repeat(1024 * 1024) });
    await expect(call).rejects.toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
  });

  it("that calls an unknown method, gets UNIMPLEMENTED", async () => {
    const call = new Promise((done, failed) => {
      const answered = (error: Error | null) => (error ? failed(error) : done(undefined));
      const none = () => Buffer.alloc(0);
      client.client.makeUnaryRequest(
        `/${SERVICE}/Nothing`,
        none,
        (bytes) => bytes,
        {},
        credential(path),
        answered,
      );
    });
    await expect(call).rejects.toMatchObject({ code: Status.UNIMPLEMENTED });
  });

  it("without a deadline, gets five seconds", async () => {
    const { timeoutMs } = await client.call("WhoCalls", {});
    expect(timeoutMs).toBeGreaterThan(0);
    expect(timeoutMs).toBeLessThanOrEqual(5_000);
  });

  it("with a distant deadline, gets five seconds too", async () => {
    const { timeoutMs } = await client.call("WhoCalls", {}, { deadline: Date.now() + 3_600_000 });
    expect(timeoutMs).toBeLessThanOrEqual(5_000);
  });

  it.each([
    ["a thousand entries", () => Array.from({ length: 1_000 }, (_, index) => [`x-${index}`, "1"])],
    ["one of 60 KB", () => [["x-much", "x".repeat(60_000)]]],
    ["one key a thousand times", () => Array.from({ length: 1_000 }, () => ["x-again", "1"])],
    ["one of a megabyte", () => [["x-much", "x".repeat(1_000_000)]]],
  ] as const)(
    "that sends metadata of %s, is answered or disconnected, and the next one is served",
    async (_, entries) => {
      const flooding = plainClient(server.address);
      const metadata = credential(path);
      for (const [key, value] of entries()) metadata.add(key as string, value as string);
      const before = server.state.contexts.length;
      const error = await flooding
        .call("Echo", ECHO, { metadata, deadline: Date.now() + 4_000 })
        .catch((thrown) => thrown);
      flooding.close();
      if (error instanceof Error) expect(server.state.contexts).toHaveLength(before);
      else expect(server.state.contexts.at(-1)?.meta).toEqual({});
      await expect(client.call("Echo", ECHO)).resolves.toBeDefined();
    },
  );

  it("that cancels, aborts the handler", async () => {
    const call = client.call("Wait", { key: "cancelled" });
    const refused = expect(call).rejects.toMatchObject({ code: Status.CANCELLED });
    await eventually(() => expect(server.state.started).toContain("cancelled"));
    call.cancel();
    await refused;
    await eventually(() => expect(server.state.contexts.at(-1)?.locals.signal.aborted).toBe(true));
    server.state.waiting.get("cancelled")?.();
  });

  it("with a deadline that has passed, starts no handler", async () => {
    const before = server.state.started.length;
    const call = client.call("Wait", { key: "too late" }, { deadline: Date.now() - 1 });
    await expect(call).rejects.toMatchObject({ code: Status.DEADLINE_EXCEEDED });
    expect(server.state.started).toHaveLength(before);
  });
});

describe("the status of a failed call", () => {
  it.each<[string, Status]>([
    ["MoleculerError", Status.UNIMPLEMENTED],
    ["MoleculerRetryableError", Status.UNAVAILABLE],
    ["MoleculerServerError", Status.INTERNAL],
    ["MoleculerClientError", Status.FAILED_PRECONDITION],
    ["ValidationError", Status.INVALID_ARGUMENT],
    ["ServiceNotFoundError", Status.UNAVAILABLE],
    ["ServiceNotAvailableError", Status.UNAVAILABLE],
    ["RequestTimeoutError", Status.DEADLINE_EXCEEDED],
    ["RequestSkippedError", Status.DEADLINE_EXCEEDED],
    ["RequestRejectedError", Status.UNAVAILABLE],
    ["QueueIsFullError", Status.RESOURCE_EXHAUSTED],
    ["MaxCallLevelError", Status.INTERNAL],
    ["TypeError", Status.INTERNAL],
  ])("of a %s says so", async (name, code) => {
    const error = await client.call("Fail", { name, message: "inside of us" }).catch((thrown) => thrown);
    expect(error.code).toBe(code);
  });

  it.each(["TypeError", "MoleculerServerError", "ServiceNotFoundError", "MaxCallLevelError"])(
    "of a %s shows nothing internal in its details",
    async (name) => {
      const error = await client.call("Fail", { name, message: "SELECT secret" }).catch((thrown) => thrown);
      expect(error.details).not.toMatch(/secret|server|node|at /i);
      const trailer = JSON.parse(error.metadata.get(NAMES.error)[0].toString());
      expect(trailer).not.toHaveProperty("stack");
      if (name === "TypeError")
        expect(trailer).toMatchObject({ type: "INTERNAL", message: errorCatalogue.INTERNAL.title });
    },
  );

  it("of an error of the catalogue has the error's text", async () => {
    const error = await client
      .call("Fail", { name: "MoleculerClientError", message: "Grüße: not now." })
      .catch((thrown) => thrown);
    expect(error).toMatchObject({ code: Status.FAILED_PRECONDITION, details: "Grüße: not now." });
    expect(errorNamed("MoleculerClientError", "").message).toBe("");
  });
});

describe("health and reflection", () => {
  it("the health service, without a credential, answers SERVING for the node and its service", async () => {
    await expect(client.health("")).resolves.toBe("SERVING");
    await expect(client.health(SERVICE)).resolves.toBe("SERVING");
    await expect(client.health("waybill.test.v1.Ghost")).rejects.toMatchObject({ code: Status.NOT_FOUND });
  });

  it("reflection lists the offered services", async () => {
    const [answer] = await reflect(client.client, { list_services: "" });
    expect(answer?.list_services_response?.service.map(({ name }) => name)).toEqual([
      SERVICE,
      "grpc.health.v1.Health",
    ]);
  });

  it("a client with nothing but reflection calls a method, with the names of the proto file", async () => {
    const [answer] = await reflect(client.client, { file_containing_symbol: SERVICE });
    const files = answer?.file_descriptor_response?.file_descriptor_proto ?? [];
    const definition = definitionOf(files);
    const { Echo } = definition[SERVICE] as Record<string, MethodDefinition<object, object>>;
    const { requestSerialize, responseDeserialize } = Echo as MethodDefinition<object, object>;
    // protobufjs, given descriptors, knows a map as the list of entries that it is on the wire.
    const request = {
      ...ECHO,
      headers: [{ key: "a", value: "b" }],
      amount: { amount_minor: 125, currency: "EUR" },
      maybe_big: 0,
    };
    const echoed = await new Promise((done, failed) => {
      const answered = (error: Error | null, value?: object) => (error ? failed(error) : done(value));
      const metadata = credential(`/${SERVICE}/Echo`);
      client.client.makeUnaryRequest(
        `/${SERVICE}/Echo`,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        answered,
      );
    });
    const { headers, amount, maybe_big } = request;
    expect(echoed).toMatchObject({ headers, amount, maybe_big });
  });
});

function moved(metadata: Metadata): Metadata {
  const [value] = metadata.get("waybill-credential");
  const [version, node, expires, mac] = String(value).split(".");
  metadata.set("waybill-credential", [version, node, Number(expires) + 1_000, mac].join("."));
  return metadata;
}
