import type { Redis } from "ioredis";
import { type BrokerOptions, Cachers, type ServiceBroker } from "moleculer";
import { redisOptions } from "../../lib/redis/redis-url.ts";
import { type SharedStore, sharedStore } from "../../lib/redis/shared-store.ts";

const SCAN_COUNT = 1_000;

/**
 * Moleculer's Redis cacher, for which a Redis that is away, slow or full is a miss and never an error. The
 * original passes errors of `get` on to the caller, and one of `set` nobody handles, which ends the process.
 */
export class SharedCacher extends Cachers.Redis<Redis> {
  #store: SharedStore | undefined;
  readonly #timeoutMs: number | undefined;

  constructor(url: string, timeoutMs?: number) {
    super({ redis: redisOptions(url), redlock: false } as never);
    this.#timeoutMs = timeoutMs;
  }

  /** The connection, for what else is shared: one for each broker is enough. */
  get store(): SharedStore {
    if (!this.#store) throw new Error("the cacher has no broker yet");
    return this.#store;
  }

  override init(broker: ServiceBroker): void {
    // A colon stands in no namespace, so that clearing one never meets the keys of another.
    this.opts.prefix = `${broker.namespace}:cache`;
    super.init(broker);
    // These log every try to connect again, for as long as Redis is away.
    this.client.removeAllListeners("ready");
    this.client.removeAllListeners("error");
    this.#store = sharedStore({
      client: this.client,
      logger: this.logger,
      ...(this.#timeoutMs !== undefined && { timeoutMs: this.#timeoutMs }),
      onChange: (available) => {
        this.connected = available;
      },
    });
  }

  override close(): Promise<void> {
    return this.store.close();
  }

  override async get(key: string) {
    const found = await this.store.attempt(async () => ({ value: await super.get(key) }));
    return found?.value ?? (undefined as never);
  }

  /** @returns undefined when it was not kept */
  override async set(key: string, data: unknown, ttl?: number) {
    return (await this.store.attempt(() => super.set(key, data, ttl))) as never;
  }

  override async del(keys: string | string[]): Promise<void> {
    await this.store.attempt((client) => client.unlink([keys].flat().map((key) => this.prefix + key)));
  }

  /** Forgets what matches; with a name that holds no asterisk just that, without a search through all keys. */
  override async clean(match: string | string[] = "*"): Promise<void> {
    const [searched, named] = [/\*/, /^[^*]+$/].map((kind) => [match].flat().filter((one) => kind.test(one)));
    if (named?.length) await this.del(named);
    for (const pattern of searched ?? []) await this.#unlink(this.prefix + pattern.replaceAll("**", "*"));
  }

  async #unlink(pattern: string): Promise<void> {
    let cursor = "0";
    do {
      const found = await this.store.attempt((client) =>
        client.scan(cursor, "MATCH", pattern, "COUNT", SCAN_COUNT),
      );
      if (!found) return;
      const [next, keys] = found;
      if (keys.length > 0) await this.store.attempt((client) => client.unlink(keys));
      cursor = next;
    } while (cursor !== "0");
  }
}

/**
 * The cacher for one broker: Redis where REDIS_URL names one; undefined leaves the broker its own, in memory.
 * Each broker needs one of its own.
 * @param timeoutMs how long an answer of Redis is waited for; 100 unless told otherwise
 */
export function cacherOf(
  settings: { readonly REDIS_URL?: string | undefined },
  timeoutMs?: number,
): BrokerOptions["cacher"] {
  return settings.REDIS_URL === undefined ? undefined : new SharedCacher(settings.REDIS_URL, timeoutMs);
}

/** What this broker shares with other processes; undefined where its cacher is its own. */
export function sharedStoreOf(broker: ServiceBroker): SharedStore | undefined {
  return broker.cacher instanceof SharedCacher ? broker.cacher.store : undefined;
}
