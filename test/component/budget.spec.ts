import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Errors, type Middleware, ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { brokerOptions } from "../../moleculer.config.ts";

const BUDGET_MS = 400;
const TRY_MS = 250;

/** Sends a call on a way of its own, as the bridge does. */
const bridge: Middleware = {
  name: "Bridge",
  remoteAction: (next, action) => (action.name === "store.bridged" ? fail : next),
};
async function fail(): Promise<never> {
  tries.bridged += 1;
  await new Promise((resolve) => setTimeout(resolve, TRY_MS));
  throw later;
}

const node = (nodeID: string, namespace: string) =>
  new ServiceBroker(
    brokerOptions({
      ...{ nodeID, namespace, transporter: { type: "Fake" } },
      ...{ logLevel: "fatal", json: false, middlewares: [bridge] },
    }),
  );
const namespace = newId();
const [caller, callee] = [node("caller", namespace), node("callee", namespace)];
const tries = { slow: 0, quick: 0, bridged: 0 };
const later = new Errors.MoleculerRetryableError("try again", 503, "SERVICE_UNAVAILABLE", {});

beforeAll(async () => {
  callee.createService({
    name: "store",
    actions: {
      bridged: { retryPolicy: { enabled: true }, handler: fail },
      slow: {
        retryPolicy: { enabled: true },
        async handler() {
          tries.slow += 1;
          await new Promise((resolve) => setTimeout(resolve, TRY_MS));
          throw later;
        },
      },
      quick: {
        retryPolicy: { enabled: true },
        async handler() {
          tries.quick += 1;
          if (tries.quick < 3) throw later;
          return "done";
        },
      },
    },
  });
  await Promise.all([caller.start(), callee.start()]);
  await caller.waitForServices("store");
});
afterAll(() => Promise.all([caller.stop(), callee.stop()]));

describe("the time of a call", () => {
  it.each(["slow", "bridged"] as const)("is shared by the tries of a %s call", async (way) => {
    const options = { timeout: BUDGET_MS };
    const sinceMs = performance.now();
    await expect(caller.call(`store.${way}`, {}, options)).rejects.toMatchObject({ type: "REQUEST_TIMEOUT" });
    expect(performance.now() - sinceMs).toBeLessThan(2 * TRY_MS + BUDGET_MS / 2);
    expect(tries[way]).toBeLessThan(3);
    expect(options).toEqual({ timeout: BUDGET_MS });
  });

  it("is enough for tries that fail at once", async () => {
    expect(await caller.call("store.quick", {}, { timeout: 5_000 })).toBe("done");
    expect(tries.quick).toBe(3);
  });
});
