import { afterEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import type { Quote } from "../../contracts/partners.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { cacherOf } from "../../mixins/caching/shared-cacher.ts";
import { quoteStore } from "../../services/api/actions/checkout.ts";

const LIFE_MS = 600_000;
/** No server listens on this port. */
const NO_REDIS = "redis://127.0.0.1:1";

const brokers: ServiceBroker[] = [];
afterEach(async () => {
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
  it("while the shared cache is down, is there for its own customer until it expires", async () => {
    const { clock, quote, customerId, quotes } = await stage(cacherOf({ REDIS_URL: NO_REDIS }));
    await quotes.save(customerId, quote);
    clock.ms += LIFE_MS - 1;
    expect(await quotes.find(customerId, quote.checkId)).toEqual(quote);
    expect(await quotes.find(newId(), quote.checkId)).toBeUndefined();
    clock.ms += 1;
    expect(await quotes.find(customerId, quote.checkId)).toBeUndefined();
  });
});
