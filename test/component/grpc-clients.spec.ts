import { createHash, randomBytes } from "node:crypto";
import { Metadata, status as Status } from "@grpc/grpc-js";
import type { MethodDefinition } from "@grpc/proto-loader";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { service as healthService } from "grpc-health-check";
import { errorCatalogue } from "../../contracts/errors.ts";
import { type GrpcClientKey, grpcKeyOf } from "../../contracts/grpc-clients.ts";
import { newId } from "../../lib/ids.ts";
import {
  type ClientUse,
  type PlatformClientGate,
  platformClientGate,
} from "../../mixins/grpc-clients/client-gate.ts";
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

describe("a client with a key of its own", () => {
  const path = `/${SERVICE}/Echo`;
  let nowMs: number;
  let stored: GrpcClientKey[];
  let used: ClientUse[];
  let isAway: boolean;
  let reads: number;
  let gate: PlatformClientGate;
  let guarded: Node;
  let program: ReturnType<typeof plainClient>;

  beforeAll(async () => {
    gate = platformClientGate({
      clock: { now: () => nowMs },
      async source(reported) {
        reads++;
        if (isAway) throw new Error("Identity does not answer");
        used.push(...reported);
        return [...stored];
      },
    });
    // The tests move the time themselves: no read by the timer comes in between.
    gate.stop();
    nowMs = Date.now();
    [stored, used, isAway, reads] = [[], [], false, 0];
    guarded = await nodes.server({ nodeID: "guarded", bridge: { clients: gate } });
    program = plainClient(guarded.address);
  });
  afterAll(() => program.close());

  function newKey(changes: Partial<GrpcClientKey> = {}) {
    const secret = randomBytes(32).toString("base64url");
    const secretHash = createHash("sha256").update(secret).digest("base64url");
    const id = newId();
    const name = `program-${id.slice(-12)}`;
    const methods = [`${SERVICE}/Echo`, `${SERVICE}/Wait`, `${SERVICE}/WhoCalls`];
    stored.push({ id, name, methods, callsPerSecond: 1_000, secretHash, ...changes });
    gate.changed(id);
    return { id, name, key: grpcKeyOf(id, secret) };
  }
  /** As the console does, after its commit. */
  function revoke(id: string) {
    stored = stored.filter((one) => one.id !== id);
    gate.changed(id);
  }
  const withKey = (key: string) => anonymous({ "waybill-client-key": key });
  const echo = (key: string) => program.call("Echo", ECHO, { metadata: withKey(key) });
  const refused = { code: Status.UNAUTHENTICATED, details: "No valid client key." };

  it("calls the methods of its scope, by its name, and no other", async () => {
    const { key, name } = newKey();
    await expect(echo(key)).resolves.toBeDefined();
    const who = await program.call("WhoCalls", {}, { metadata: withKey(key) });
    expect(JSON.parse(who.locals as string)).toMatchObject({ peer: `client/${name}`, wire: "grpc" });
    const outside = program.call("Fail", { name: "TypeError" }, { metadata: withKey(key) });
    await expect(outside).rejects.toMatchObject({
      code: Status.PERMISSION_DENIED,
      details: `The client has no right to call ${SERVICE}/Fail.`,
    });
    expect(gate.admitted()[name]).toBe(2);
    expect(gate.refused()[name]).toBe(1);
  });

  it.each<[string, () => Metadata]>([
    ["no key", () => anonymous()],
    ["nonsense for a key", () => withKey("waybill_x_y")],
    ["the credential of a node and no key", () => credential(path)],
    ["the key of an unknown client", () => withKey(grpcKeyOf(newId(), "x".repeat(43)))],
    ["a wrong secret", () => withKey(grpcKeyOf(newKey().id, "x".repeat(43)))],
    ["an expired key", () => withKey(newKey({ expiresAt: new Date(nowMs).toISOString() }).key)],
  ])("that has %s, is UNAUTHENTICATED and reaches no action", async (_, metadata) => {
    const before = guarded.state.contexts.length;
    await expect(program.call("Echo", ECHO, { metadata: metadata() })).rejects.toMatchObject(refused);
    expect(guarded.state.contexts).toHaveLength(before);
  });

  it("opens no peer stream", async () => {
    const { key } = newKey({ methods: [NAMES.peerStream.slice(1)] });
    const asIs = (bytes: Buffer) => bytes;
    const stream = program.client.makeBidiStreamRequest(NAMES.peerStream, asIs, asIs, withKey(key));
    const ended = new Promise((_, failed) => stream.on("error", failed).on("data", () => undefined));
    await expect(ended).rejects.toMatchObject({ code: Status.UNAUTHENTICATED });
  });

  it("that is revoked, is refused at its next call, and its running calls and open streams end", async () => {
    const { id, key } = newKey();
    const { Watch } = healthService as unknown as Record<string, MethodDefinition<object, object>>;
    const { path, requestSerialize, responseDeserialize } = Watch as MethodDefinition<object, object>;
    const watch = program.client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      { service: SERVICE },
      withKey(key),
    );
    const watching = Promise.withResolvers<void>();
    const closed = new Promise((_, failed) => watch.on("error", failed).on("data", () => watching.resolve()));
    const stillOpen = expect(closed).rejects.toMatchObject({ code: Status.UNAUTHENTICATED });
    const running = program.call("Wait", { key: id }, { metadata: withKey(key) });
    const ended = expect(running).rejects.toMatchObject({
      code: Status.UNAUTHENTICATED,
      details: "The client key is revoked.",
    });
    await watching.promise;
    await eventually(() => expect(guarded.state.started).toContain(id));
    revoke(id);
    await expect(echo(key)).rejects.toMatchObject(refused);
    await Promise.all([ended, stillOpen]);
    expect(guarded.state.contexts.at(-1)?.locals.signal.aborted).toBe(true);
    guarded.state.waiting.get(id)?.();
  });

  it("opens no health stream with an invalid key", async () => {
    const { id, key } = newKey();
    revoke(id);
    const { Check } = healthService as unknown as Record<string, MethodDefinition<object, object>>;
    const { path, requestSerialize, responseDeserialize } = Check as MethodDefinition<object, object>;
    const check = new Promise((done, failed) => {
      const answered = (error: Error | null, value?: object) => (error ? failed(error) : done(value));
      const request = { service: SERVICE };
      program.client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        withKey(key),
        answered,
      );
    });
    await expect(check).rejects.toMatchObject(refused);
    await expect(program.health(SERVICE)).resolves.toBe("SERVING");
  });

  it("whose revocation was not broadcast, is refused after half a minute at most", async () => {
    const { id, key } = newKey();
    await echo(key);
    stored = stored.filter((one) => one.id !== id);
    await expect(echo(key)).resolves.toBeDefined();
    nowMs += 30_001;
    await expect(echo(key)).rejects.toMatchObject(refused);
  });

  it("revoked while the clients are read, is not known again by that read", async () => {
    const { id, key } = newKey();
    await echo(key);
    const [before, outdated] = [stored, [...stored]];
    const reading = Promise.withResolvers<void>();
    // The read begins before the revocation, and answers after it with the state before.
    stored = new Proxy(outdated, {
      get(target, name, receiver) {
        if (name === Symbol.iterator) {
          stored = before;
          revoke(id);
          reading.resolve();
        }
        return Reflect.get(target, name, receiver);
      },
    });
    nowMs += 30_001;
    await expect(echo(key)).rejects.toMatchObject(refused);
    await reading.promise;
    await expect(echo(key)).rejects.toMatchObject(refused);
  });

  it("while Identity does not answer, is served for five minutes and then UNAVAILABLE", async () => {
    const { key } = newKey();
    await echo(key);
    isAway = true;
    nowMs += 299_000;
    await expect(echo(key)).resolves.toBeDefined();
    nowMs += 2_000;
    await expect(echo(key)).rejects.toMatchObject({ code: Status.UNAVAILABLE });
    isAway = false;
    nowMs += 3_001;
    await expect(echo(key)).resolves.toBeDefined();
  });

  it("created while Identity does not answer, is UNAVAILABLE, and served by the next call when it answers", async () => {
    isAway = true;
    const { key } = newKey();
    await expect(echo(key)).rejects.toMatchObject({ code: Status.UNAVAILABLE });
    isAway = false;
    await expect(echo(key)).resolves.toBeDefined();
  });

  it("beyond its calls a second is RESOURCE_EXHAUSTED, also for methods outside of its scope, and others are served", async () => {
    const [busy, other] = [newKey({ callsPerSecond: 2 }), newKey()];
    await echo(other.key);
    const outside = () => program.call("Fail", { name: "TypeError" }, { metadata: withKey(busy.key) });
    await expect(echo(busy.key)).resolves.toBeDefined();
    await expect(outside()).rejects.toMatchObject({ code: Status.PERMISSION_DENIED });
    await expect(outside()).rejects.toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
    await expect(echo(busy.key)).rejects.toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
    await expect(echo(other.key)).resolves.toBeDefined();
    nowMs += 500;
    await expect(echo(busy.key)).resolves.toBeDefined();
  });

  it("with eight running calls is RESOURCE_EXHAUSTED until one has ended, and others are served", async () => {
    const [busy, other] = [newKey(), newKey()];
    const keys = Array.from({ length: 8 }, (_, index) => `${busy.id}-${index}`);
    const calls = keys.map((key) => program.call("Wait", { key }, { metadata: withKey(busy.key) }));
    await eventually(() => expect(guarded.state.started).toEqual(expect.arrayContaining(keys)));
    await expect(echo(busy.key)).rejects.toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
    await expect(echo(other.key)).resolves.toBeDefined();
    for (const key of keys) guarded.state.waiting.get(key)?.();
    await Promise.all(calls);
    await expect(eventually(() => echo(busy.key))).resolves.toBeDefined();
  });

  it("with unknown keys causes one read in three seconds, and its last call is reported by the next read", async () => {
    const { id, key } = newKey();
    await echo(key);
    nowMs += 10_000;
    await echo(key);
    const [before, lastMs] = [reads, nowMs];
    for (let tries = 0; tries < 20; tries++)
      await expect(echo(grpcKeyOf(newId(), "x".repeat(43)))).rejects.toMatchObject(refused);
    expect(reads).toBe(before + 1);
    expect(used.findLast((use) => use.id === id)).toEqual({ id, at: new Date(lastMs).toISOString() });
  });
});

function moved(metadata: Metadata): Metadata {
  const [value] = metadata.get("waybill-credential");
  const [version, node, expires, mac] = String(value).split(".");
  metadata.set("waybill-credential", [version, node, Number(expires) + 1_000, mac].join("."));
  return metadata;
}
