import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Errors, ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { brokerOptions } from "../../moleculer.config.ts";

const BUDGET_MS = 400;
const TRY_MS = 250;

const node = (nodeID: string, namespace: string) =>
  new ServiceBroker(
    brokerOptions({
      ...{ nodeID, namespace, transporter: { type: "Fake" } },
      ...{ logLevel: "fatal", json: false, middlewares: [] },
    }),
  );
const namespace = newId();
const [caller, callee] = [node("caller", namespace), node("callee", namespace)];
const tries = { slow: 0, quick: 0 };
const later = new Errors.MoleculerRetryableError("try again", 503, "SERVICE_UNAVAILABLE", {});

beforeAll(async () => {
  callee.createService({
    name: "store",
    actions: {
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
  it("is shared by its tries: a service that fails slowly does not get it three times", async () => {
    const options = { timeout: BUDGET_MS };
    const sinceMs = performance.now();
    await expect(caller.call("store.slow", {}, options)).rejects.toMatchObject({ type: "REQUEST_TIMEOUT" });
    expect(performance.now() - sinceMs).toBeLessThan(2 * TRY_MS + BUDGET_MS / 2);
    expect(tries.slow).toBeLessThan(3);
    expect(options).toEqual({ timeout: BUDGET_MS });
  });

  it("is enough for tries that fail at once", async () => {
    expect(await caller.call("store.quick", {}, { timeout: 5_000 })).toBe("done");
    expect(tries.quick).toBe(3);
  });
});
