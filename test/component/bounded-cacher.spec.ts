import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { BoundedCacher } from "../../mixins/caching/bounded-cacher.ts";
import { brokerOptions } from "../../platform/broker-options.ts";

const BYTES_MAX = 100_000;
/** As large as a check of fifty lines. */
const check = { lines: Array.from({ length: 50 }, (_, n) => ({ n, title: "x".repeat(250) })) };

let cacher: BoundedCacher;
let broker: ServiceBroker;
beforeAll(async () => {
  cacher = new BoundedCacher(BYTES_MAX);
  broker = new ServiceBroker({ logger: false, cacher, skipProcessEventRegistration: true });
  await broker.start();
});
afterAll(() => broker.stop());

describe("the cacher in memory", () => {
  it("with many large answers, keeps the newest within its bytes", async () => {
    for (let n = 0; n < 100; n++) await cacher.set(`check:${n}`, check, 600);
    expect(cacher.bytes).toBeGreaterThan(BYTES_MAX / 2);
    expect(cacher.bytes).toBeLessThanOrEqual(BYTES_MAX);
    expect(await cacher.get("check:99")).toEqual(check);
    expect(await cacher.get("check:0")).toBeUndefined();
  });

  it("keeps recently used answers and drops the others", async () => {
    await cacher.clean();
    await cacher.set("used", check, 600);
    for (let n = 0; n < 20; n++) {
      await cacher.set(`other:${n}`, check, 600);
      expect(await cacher.get("used")).toEqual(check);
    }
    expect(await cacher.get("other:0")).toBeUndefined();
  });

  it("is the default of every node without Redis, each its own", () => {
    const options = () =>
      brokerOptions({
        ...{ nodeID: newId(), namespace: "test", transporter: null, logLevel: "fatal", json: false },
        requestTimeoutMs: 30_000,
        middlewares: [],
      });
    const [one, other] = [options().cacher, options().cacher];
    expect(one).toBeInstanceOf(BoundedCacher);
    expect(one).not.toBe(other);
  });
});
