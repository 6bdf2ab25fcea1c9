import { Metadata, status as Status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type BrokerOptions, ServiceBroker } from "moleculer";
import { callCredential, grpcBridge } from "moleculer-grpc";
import { newId } from "../../lib/ids.ts";
import { defaultErrors } from "../../packages/moleculer-grpc/src/errors.ts";
import { metaFields } from "../../packages/moleculer-grpc/src/metadata.ts";
import {
  EMPTY_ECHO,
  newState,
  PROTO_DIR,
  plainClient,
  probeService,
  SECRET,
  SERVICE,
} from "../support/bridge.ts";

const namespace = newId();
const state = newState();

function node(nodeID: string): ServiceBroker {
  return new ServiceBroker({
    ...{ nodeID, namespace, logger: false, skipProcessEventRegistration: true },
    transporter: { type: "Fake" } as BrokerOptions["transporter"],
    middlewares: [
      grpcBridge({ secret: SECRET, protoDir: PROTO_DIR, meta: ["user", "locale"], maxCallMs: 300 }),
    ],
  });
}

const server = node("server");
const caller = node("caller");

beforeAll(async () => {
  server.createService(probeService(state));
  await Promise.all([server.start(), caller.start()]);
  await caller.waitForServices("probe");
});

afterAll(() => Promise.all([server.stop(), caller.stop()]));

describe("a bridge without the platform's errors, meta and names", () => {
  it("carries the named keys of meta and no other", async () => {
    const meta = { user: { id: "u-1", roles: ["admin"] }, locale: "en", secret: "stays here" };
    const { meta: received } = await caller.call<{ meta: string }, object>("probe.whoCalls", {}, { meta });
    expect(JSON.parse(received)).toEqual({ user: { id: "u-1", roles: ["admin"] }, locale: "en" });
  });

  it("creates plain errors of its own", async () => {
    await expect(caller.call("probe.echo", { ...EMPTY_ECHO, nothing: 1 })).rejects.toMatchObject({
      name: "MoleculerClientError",
      ...{ code: 422, type: "VALIDATION_ERROR", data: { errors: [{ field: "nothing", rule: "unknown" }] } },
    });
    await expect(
      caller.call("probe.echo", { ...EMPTY_ECHO, text: "x".repeat(2 ** 20) }),
    ).rejects.toMatchObject({
      ...{ code: 413, type: "PAYLOAD_TOO_LARGE", retryable: false },
    });
  });

  it("ends a call without a timeout after maxCallMs", async () => {
    const call = caller.call("probe.wait", { key: "long" }, { timeout: 0 });
    await expect(call).rejects.toMatchObject({ type: "DEADLINE_EXCEEDED", code: 504, retryable: false });
    state.waiting.get("long")?.();
  });

  it("reads credentials and meta of plain clients under its own prefix", async () => {
    const client = plainClient(server.metadata.grpc as string);
    const metadata = new Metadata();
    const path = `/${SERVICE}/WhoCalls`;
    metadata.set("moleculer-credential", callCredential({ secret: SECRET, path, node: "script" }));
    metadata.set("moleculer-meta-locale", "de");
    const { meta } = await client.call("WhoCalls", {}, { metadata });
    expect(JSON.parse(meta as string)).toEqual({ locale: "de" });
    await expect(client.call("WhoCalls", {})).rejects.toMatchObject({ code: Status.UNAUTHENTICATED });
    client.close();
  });
});

describe("the default errors", () => {
  it.each([
    ["SERVICE_UNAVAILABLE", 503, true],
    ["OVERLOADED", 503, true],
    ["DEADLINE_EXCEEDED", 504, false],
    ["INTERNAL", 500, false],
  ] as const)("have %s as %d, retryable: %s", (type, code, retryable) => {
    expect(defaultErrors.create(type)).toMatchObject({ type, code, retryable, message: type });
  });

  it("show clients the text of client errors, and no other", () => {
    const plain = { name: "E", message: "a text", retryable: false };
    expect(defaultErrors.publicText({ ...plain, code: 409 })).toBe("a text");
    expect(defaultErrors.publicText({ ...plain, code: 500 })).toBeUndefined();
  });
});

it("keys of meta that differ only in their case are refused, since metadata knows no case", () => {
  expect(() => metaFields(["userId", "userid"], "moleculer")).toThrow("differ only in their case");
});
