import { createServer } from "node:net";
import { status as Status } from "@grpc/grpc-js";
import { afterAll, describe, expect, it } from "@jest/globals";
import { type ActionSchema, ServiceBroker, type ServiceSchema } from "moleculer";
import { sharedServer } from "moleculer-grpc";
import { newId } from "../../lib/ids.ts";
import {
  cluster,
  newState,
  type ProbeState,
  plainClient,
  probeBridge,
  probeService,
  SERVICE,
} from "../support/bridge.ts";

const GHOST = "waybill.test.v1.Ghost";

describe("the start of a node", () => {
  const proto = "waybill/test/v1/probe.proto";
  const actions = probeService(newState()).actions as Record<string, object>;
  const nodes = cluster();
  afterAll(() => nodes.stopAll());

  function start(schema: Partial<ServiceSchema>, bridge = {}): Promise<unknown> {
    const services = (state: ProbeState) => [probeService(state, schema)];
    return nodes.start({ nodeID: newId(), services, bridge });
  }

  function withEcho(echo: ActionSchema | undefined): Partial<ServiceSchema> {
    return { actions: { ...actions, echo: echo ?? false } as ServiceSchema["actions"] };
  }

  it.each<[string, Partial<ServiceSchema>, string]>([
    [
      "a proto file that is missing",
      { grpc: { proto: "none.proto", service: SERVICE } },
      "there is no none.proto",
    ],
    [
      "a service that is missing",
      { grpc: { proto, service: "a.v1.None" } },
      "probe.proto has no service a.v1.None",
    ],
    [
      "a service of another name",
      { grpc: { proto, service: "waybill.test.v1.Ghost" } },
      "waybill.test.v1.Ghost/Appear has no public action ghost.appear",
    ],
    ["a method without an action", withEcho(undefined), `${SERVICE}/Echo has no public action probe.echo`],
    [
      "a method whose action is private",
      withEcho({ visibility: "private", handler: async () => ({}) }),
      `${SERVICE}/Echo has no public action probe.echo`,
    ],
  ])("with %s is refused by name", async (_, schema, message) => {
    await expect(start(schema)).rejects.toThrow(message);
  });

  it("on a used port is refused", async () => {
    const holder = createServer();
    await new Promise<void>((listening) => holder.listen(0, "127.0.0.1", listening));
    const { port } = holder.address() as { port: number };
    await expect(start({}, { port })).rejects.toThrow("EADDRINUSE");
    holder.close();
  });

  it("with a bridge of another node is refused", async () => {
    const bridge = probeBridge();
    const options = { logger: false, skipProcessEventRegistration: true, middlewares: [bridge] };
    const [one] = [new ServiceBroker(options), new ServiceBroker(options)] as const;
    await expect(one.start()).rejects.toThrow("a bridge belongs to one broker");
  });

  it("with a shared listener has the same port, and keeps it when the other node leaves", async () => {
    const bridge = { listener: sharedServer() };
    const ghost: ServiceSchema = {
      name: "ghost",
      grpc: { proto, service: GHOST },
      actions: { appear: async () => ({}) },
    };
    const [one, other] = await Promise.all([
      nodes.server({ nodeID: newId(), bridge }),
      nodes.start({ nodeID: newId(), services: () => [ghost], bridge }),
    ]);
    const client = plainClient(one.address);
    expect(other.address).toBe(one.address);
    expect(await Promise.all(["", SERVICE, GHOST].map(client.health))).toEqual(Array(3).fill("SERVING"));
    await nodes.stop(other.broker);
    expect(await client.health(GHOST)).toBe("NOT_SERVING");
    expect(await client.call("WhoCalls", {})).toMatchObject({ caller: expect.any(String) });
    await nodes.stop(one.broker);
    await expect(client.health("")).rejects.toMatchObject({ code: Status.UNAVAILABLE });
    client.close();
  });

  it("without services opens no port", async () => {
    const { address } = await nodes.start({ nodeID: "front" });
    expect(address).toBeUndefined();
  });
});
