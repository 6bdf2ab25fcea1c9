import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type Context, ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { remoteTimeout } from "../../mixins/transporter/remote-timeout.middleware.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { eventually } from "../support/eventually.ts";

const TIMEOUT_MS = 150;

/** A node whose answers are lost, and one that asks it. */
function nodes() {
  const namespace = newId();
  const [silent, asking] = ["silent", "asking"].map(
    (nodeID) =>
      new ServiceBroker(
        brokerOptions({
          ...{ nodeID, namespace, transporter: { type: "Fake" }, logLevel: "fatal", json: false },
          requestTimeoutMs: 30_000,
          middlewares: [],
        }),
      ),
  ) as [ServiceBroker, ServiceBroker];
  silent.createService({ name: "well", actions: { ask: () => "an answer" } });
  return { silent, asking };
}

describe("a request to another node without an answer", () => {
  let { silent, asking } = nodes();
  beforeEach(async () => {
    ({ silent, asking } = nodes());
    await Promise.all([silent.start(), asking.start()]);
    await asking.waitForServices("well", 60_000, 20);
  });
  afterEach(() => Promise.all([silent.stop(), asking.stop()]));

  const lose = () => {
    const { transit } = silent;
    if (transit) transit.sendResponse = async () => undefined;
  };

  it("ends for its caller in time, and does not delay the caller's stop later", async () => {
    lose();
    await expect(asking.call("well.ask", {}, { timeout: TIMEOUT_MS })).rejects.toMatchObject({
      type: "REQUEST_TIMEOUT",
    });
    // A stop waits for those that are pending.
    const { pendingRequests } = asking.transit as unknown as {
      pendingRequests: ReadonlyMap<string, unknown>;
    };
    await eventually(() => expect(pendingRequests.size).toBe(0));
  });

  it("ends with the same error when the broker's own timeout is later, as after a pause of the process", async () => {
    const { remoteAction } = remoteTimeout() as unknown as {
      remoteAction: (next: () => Promise<unknown>) => (ctx: Pick<Context, "options">) => Promise<unknown>;
    };
    const asked = remoteAction(() => new Promise(() => undefined))({ options: { timeout: 1 } });
    await expect(asked).rejects.toMatchObject({ type: "REQUEST_TIMEOUT", code: 504 });
  });

  it("does not affect answered requests, also without a limit", async () => {
    expect(await asking.call("well.ask", {}, { timeout: TIMEOUT_MS })).toBe("an answer");
    expect(await asking.call("well.ask", {}, { timeout: 0 })).toBe("an answer");
  });
});
