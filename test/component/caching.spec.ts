import { afterEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { caching } from "../../mixins/caching/caching.mixin.ts";
import { eventually } from "../support/eventually.ts";

const namespace = `caching-${newId()}`;
const brokers: ServiceBroker[] = [];
afterEach(() => Promise.all(brokers.splice(0).map((broker) => broker.stop())));

async function replica(nodeID: string) {
  const cached = caching(["shop.list"]);
  let works = 0;
  const broker = new ServiceBroker({
    nodeID,
    namespace,
    logger: false,
    transporter: "Fake",
    cacher: "Memory",
    skipProcessEventRegistration: true,
  });
  broker.createService({
    name: "shop",
    mixins: [cached.mixin],
    actions: { list: { cache: { keys: ["page"] }, handler: () => ++works } },
  });
  brokers.push(broker);
  await broker.start();
  return { cached, list: (page: number) => broker.call("shop.list", { page }, { nodeID }) };
}

describe("cached answers", () => {
  it("are dropped on every node when one node invalidates them", async () => {
    const [one, other] = await Promise.all([replica("one"), replica("other")]);
    expect([await one.list(1), await one.list(1), await other.list(1)]).toEqual([1, 1, 1]);
    await eventually(async () => {
      await one.cached.outdated();
      expect(await one.list(1)).toBeGreaterThan(1);
      expect(await other.list(1)).toBeGreaterThan(1);
    });
  });

  it("of another service stay", async () => {
    const one = await replica("one");
    const stranger = caching(["market.list"]);
    const [broker] = brokers;
    broker?.createService({ name: "market", mixins: [stranger.mixin] });
    await broker?.waitForServices("market");
    expect(await one.list(1)).toBe(1);
    await stranger.outdated();
    expect(await one.list(1)).toBe(1);
  });
});
