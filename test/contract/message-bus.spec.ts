import { describe, expect, it } from "@jest/globals";
import { messageBusConformance } from "../../providers/message-bus/conformance.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";
import { incoming, userDeleted } from "../support/messaging.ts";

describe("message bus in-process", () => {
  messageBusConformance(async (groups) => {
    const messageBus = inProcessMessageBus({ groups });
    return { connect: async () => messageBus, stop: () => messageBus.close() };
  });

  it("publish, while a group has not subscribed, rejects with `not-ready` and names the group", async () => {
    const messageBus = inProcessMessageBus({ groups: ["kitchen", "courier"], joinTimeoutMs: 20 });
    await messageBus.subscribe("kitchen", ["user.deleted"], async () => undefined);
    expect(await messageBus.ready()).toBe(false);
    await expect(messageBus.publish([incoming(userDeleted())])).rejects.toMatchObject({
      kind: "not-ready",
      message: expect.stringContaining("courier"),
    });
  });

  it("publish, when one group's inbox fails, rejects although the other group has committed", async () => {
    const messageBus = inProcessMessageBus({ groups: ["kitchen", "courier"] });
    const committed: unknown[] = [];
    await messageBus.subscribe("kitchen", ["user.deleted"], async (messages) => {
      committed.push(...messages);
    });
    await messageBus.subscribe("courier", ["user.deleted"], () => Promise.reject(new Error("disk full")));
    const message = incoming(userDeleted());
    await expect(messageBus.publish([message])).rejects.toMatchObject({
      kind: "refused",
      message: expect.stringContaining("disk full"),
    });
    expect(committed).toEqual([message]);
  });

  it("publish, to a group of several replicas, delivers to them in turn", async () => {
    const messageBus = inProcessMessageBus({ groups: ["kitchen"] });
    const asked: string[] = [];
    for (const replica of ["a", "b"]) {
      await messageBus.subscribe("kitchen", ["user.deleted"], async () => void asked.push(replica));
    }
    for (let i = 0; i < 4; i += 1) await messageBus.publish([incoming(userDeleted())]);
    expect(asked).toEqual(["a", "b", "a", "b"]);
  });
});
