import { afterEach, describe, expect, it, jest } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import type { Quote } from "../../contracts/partners.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { BoundedCacher } from "../../mixins/caching/bounded-cacher.ts";
import { cacherOf } from "../../mixins/caching/shared-cacher.ts";
import { quoteStore } from "../../services/api/actions/checkout.ts";

const LIFE_MS = 600_000;
const CONFIRMED_LIFE_MS = 86_400_000;
/** No server listens on this port. */
const NO_REDIS = "redis://127.0.0.1:1";

const brokers: ServiceBroker[] = [];
afterEach(async () => {
  jest.useRealTimers();
  jest.restoreAllMocks();
  await Promise.all(brokers.splice(0).map((broker) => broker.stop()));
});

async function stage(cacher: ReturnType<typeof cacherOf>) {
  const broker = new ServiceBroker({ logger: false, cacher, skipProcessEventRegistration: true });
  brokers.push(broker);
  await broker.start();
  const clock = { ms: Date.now(), now: () => clock.ms };
  const quote = { checkId: newId(), expiresAt: isoTime(clock.ms + LIFE_MS) } as Quote;
  return { clock, quote, customerId: newId(), quotes: quoteStore(broker, clock) };
}

describe("a quote", () => {
  it("while the shared cache is unavailable, is found for its own customer until it expires", async () => {
    const { clock, quote, customerId, quotes } = await stage(cacherOf({ REDIS_URL: NO_REDIS }));
    await quotes.save(customerId, quote);
    clock.ms += LIFE_MS - 1;
    expect(await quotes.find(customerId, quote.checkId)).toEqual(quote);
    expect(await quotes.find(newId(), quote.checkId)).toBeUndefined();
    clock.ms += 1;
    expect(await quotes.find(customerId, quote.checkId)).toBeUndefined();
  });

  it("that is confirmed, is stored when the answer is sent, not later", async () => {
    const { clock, quote, customerId } = await stage(new BoundedCacher(1_000_000));
    const stored = Promise.withResolvers<string>();
    const done: string[] = [];
    const broker = { cacher: { set: () => stored.promise.then(() => done.push("stored")) } };
    const extending = quoteStore(broker as unknown as ServiceBroker, clock)
      .extend(customerId, quote)
      .then(() => done.push("extended"));
    setImmediate(() => stored.resolve("OK"));
    await extending;
    expect(done).toEqual(["stored", "extended"]);
  });

  it("that is confirmed, is there for a day, and one that is not goes at its end", async () => {
    // The cache reads this clock, and repeats its answer until a timer ends.
    let aheadMs = 0;
    const now = performance.now.bind(performance);
    jest.spyOn(performance, "now").mockImplementation(() => now() + aheadMs);
    jest.useFakeTimers({ doNotFake: ["setImmediate", "nextTick", "performance"] });
    const { clock, quote, customerId, quotes } = await stage(new BoundedCacher(1_000_000));
    const other = { ...quote, checkId: newId() };
    const passes = (ms: number) => {
      clock.ms += ms;
      aheadMs += ms;
      jest.advanceTimersByTime(ms);
    };
    await quotes.save(customerId, quote);
    await quotes.save(customerId, other);
    await quotes.extend(customerId, quote);
    passes(LIFE_MS - 1_000);
    expect(await quotes.find(customerId, other.checkId)).toEqual(other);
    passes(2_000);
    expect(await quotes.find(customerId, other.checkId)).toBeUndefined();
    passes(CONFIRMED_LIFE_MS - LIFE_MS - 2_000);
    expect(await quotes.find(customerId, quote.checkId)).toEqual(quote);
    passes(2_000);
    expect(await quotes.find(customerId, quote.checkId)).toBeUndefined();
  });

  it("that ends within the second, is not stored at all: its time to live would be none", async () => {
    const { clock, quote, customerId, quotes } = await stage(new BoundedCacher(1_000_000));
    await quotes.save(customerId, { ...quote, expiresAt: isoTime(clock.ms + 999) });
    expect(await quotes.find(customerId, quote.checkId)).toBeUndefined();
    await quotes.save(customerId, { ...quote, expiresAt: isoTime(clock.ms + 1_000) });
    expect(await quotes.find(customerId, quote.checkId)).toMatchObject({ checkId: quote.checkId });
  });
});
