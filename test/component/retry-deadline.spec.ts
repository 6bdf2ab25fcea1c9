import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from "@jest/globals";
import { Errors, type Middleware, ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { eventually } from "../support/eventually.ts";

const BUDGET_MS = 400;
const TRY_MS = 250;

/** Sends a call on a way of its own, as the bridge does. */
const bridge: Middleware = {
  name: "Bridge",
  remoteAction: (next, action) => (action.name === "store.bridged" ? tried("bridged") : next),
};

const node = (nodeID: string, namespace: string) =>
  new ServiceBroker(
    brokerOptions({
      ...{ nodeID, namespace, transporter: { type: "Fake" } },
      ...{ logLevel: "fatal", json: false, middlewares: [bridge], requestTimeoutMs: 30_000 },
    }),
  );
const namespace = newId();
const [caller, callee] = [node("caller", namespace), node("callee", namespace)];
const later = new Errors.MoleculerRetryableError("try again", 503, "SERVICE_UNAVAILABLE", {});
/** Each try fails when the test says so, at a time of the test's clock. */
const tries = { slow: [] as PromiseWithResolvers<never>[], bridged: [] as PromiseWithResolvers<never>[] };
let quickTries = 0;
function tried(way: keyof typeof tries) {
  return (): Promise<never> => {
    const one = Promise.withResolvers<never>();
    tries[way].push(one);
    return one.promise;
  };
}

beforeAll(async () => {
  callee.createService({
    name: "store",
    actions: {
      bridged: { retryPolicy: { enabled: true }, handler: tried("bridged") },
      slow: { retryPolicy: { enabled: true }, handler: tried("slow") },
      quick: {
        retryPolicy: { enabled: true },
        async handler() {
          quickTries += 1;
          if (quickTries < 3) throw later;
          return "done";
        },
      },
    },
  });
  await Promise.all([caller.start(), callee.start()]);
  await caller.waitForServices("store");
});
afterEach(() => void jest.useRealTimers());
afterAll(() => Promise.all([caller.stop(), callee.stop()]));

describe("the timeout of a call", () => {
  it.each(["slow", "bridged"] as const)("is shared by the attempts of a %s call", async (way) => {
    jest.useFakeTimers({ doNotFake: ["nextTick", "setImmediate", "queueMicrotask"] });
    const options = { timeout: BUDGET_MS };
    let outcome: unknown;
    caller.call(`store.${way}`, {}, options).catch((error) => {
      outcome = error;
    });
    await eventually(() => expect(tries[way]).toHaveLength(1));
    await jest.advanceTimersByTimeAsync(TRY_MS);
    tries[way][0]?.reject(later);
    // The second try would take as long as the first: what is left is less, the pause before it included.
    await jest.advanceTimersByTimeAsync(TRY_MS);
    expect(tries[way]).toHaveLength(2);
    expect(outcome).toMatchObject({ type: "REQUEST_TIMEOUT" });
    expect(options).toEqual({ timeout: BUDGET_MS });
    tries[way][1]?.reject(later);
  });

  it("is enough for attempts that fail at once", async () => {
    expect(await caller.call("store.quick", {}, { timeout: 60_000 })).toBe("done");
    expect(quickTries).toBe(3);
  });
});
