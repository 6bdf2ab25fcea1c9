import { describe, expect, it } from "@jest/globals";
import { carrierContract } from "../../providers/carrier/contract.ts";
import { inProcessCarrier } from "../../providers/carrier/index.ts";
import { incoming, userDeleted } from "../support/messaging.ts";

describe("carrier in-process", () => {
  carrierContract(async (groups) => {
    const carrier = inProcessCarrier({ groups });
    return { connect: async () => carrier, stop: () => carrier.close() };
  });

  it("publish, while a group is missing, rejects with `not-ready` after a while and names it", async () => {
    const carrier = inProcessCarrier({ groups: ["kitchen", "courier"], joinTimeoutMs: 20 });
    await carrier.subscribe("kitchen", ["user.deleted"], async () => undefined);
    expect(await carrier.ready()).toBe(false);
    await expect(carrier.publish([incoming(userDeleted())])).rejects.toMatchObject({
      kind: "not-ready",
      message: expect.stringContaining("courier"),
    });
  });

  it("publish, when one group's inbox refuses, rejects although the other has committed", async () => {
    const carrier = inProcessCarrier({ groups: ["kitchen", "courier"] });
    const committed: unknown[] = [];
    await carrier.subscribe("kitchen", ["user.deleted"], async (messages) => {
      committed.push(...messages);
    });
    await carrier.subscribe("courier", ["user.deleted"], () => Promise.reject(new Error("disk full")));
    const message = incoming(userDeleted());
    await expect(carrier.publish([message])).rejects.toMatchObject({
      kind: "refused",
      message: expect.stringContaining("disk full"),
    });
    expect(committed).toEqual([message]);
  });

  it("publish, to a group of several replicas, asks them in turn", async () => {
    const carrier = inProcessCarrier({ groups: ["kitchen"] });
    const asked: string[] = [];
    for (const replica of ["a", "b"]) {
      await carrier.subscribe("kitchen", ["user.deleted"], async () => void asked.push(replica));
    }
    for (let i = 0; i < 4; i += 1) await carrier.publish([incoming(userDeleted())]);
    expect(asked).toEqual(["a", "b", "a", "b"]);
  });
});
