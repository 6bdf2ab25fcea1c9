import { describe, expect, it } from "@jest/globals";
import { type Context, ServiceBroker } from "moleculer";
import {
  addLastMiddleware,
  createContext,
  metadataOf,
} from "../../packages/moleculer-grpc/src/moleculer-internals.ts";

const options = { logger: false, skipProcessEventRegistration: true } as const;

describe("the internals of Moleculer that moleculer-grpc uses", () => {
  it("return the metadata of a known node, and none of another", () => {
    const broker = new ServiceBroker({ ...options, nodeID: "one", metadata: { grpc: "127.0.0.1:1" } });
    expect(metadataOf(broker, "one")).toEqual({ grpc: "127.0.0.1:1" });
    expect(metadataOf(broker, "two")).toBeUndefined();
  });

  it("make a context that a call of the broker accepts", async () => {
    const broker = new ServiceBroker({ ...options, nodeID: "one" });
    broker.createService({
      name: "echo",
      actions: { tell: ({ params, meta, locals, level }: Context) => ({ params, meta, locals, level }) },
    });
    await broker.start();
    const ctx = Object.assign(createContext(broker, { a: 1 }, { meta: { b: 2 } }), { level: 3 });
    ctx.locals.c = 4;
    const told = await broker.call("echo.tell", { a: 1 }, { ctx, nodeID: "one" } as object);
    await broker.stop();
    expect(told).toEqual({ params: { a: 1 }, meta: { b: 2 }, locals: { c: 4 }, level: 3 });
  });

  it("run the `stopping` of a middleware that was added last before the others", async () => {
    const order: string[] = [];
    const broker = new ServiceBroker({
      ...options,
      middlewares: [
        {
          created: (broker) =>
            addLastMiddleware(broker, { stopping: async () => void order.push("added last") }),
          stopping: async () => void order.push("of the options"),
        },
      ],
    });
    await broker.start();
    await broker.stop();
    expect(order).toEqual(["added last", "of the options"]);
  });
});
