import type { Redis } from "ioredis";
import { type BrokerOptions, Cachers, type ServiceBroker } from "moleculer";
import { redisOptions } from "../../lib/redis/redis-url.ts";
import { type SharedStore, sharedStore } from "../../lib/redis/shared-store.ts";

const SCAN_COUNT = 1_000;

/**
 * Moleculer's Redis cacher, changed so that an unavailable, slow or full Redis is a cache miss and never an error. The
 * original passes errors of `get` to the caller, and an error of `set` is unhandled and ends the process.
 */
export class SharedCacher extends Cachers.Redis<Redis> {
  #store: SharedStore | undefined;
  readonly #timeoutMs: number | undefined;

  constructor(url: string, timeoutMs?: number) {
    super({ redis: redisOptions(url), redlock: false } as never);
    this.#timeoutMs = timeoutMs;
  }

  /** The connection, also for other shared data: one for each broker is enough. */
  get store(): SharedStore {
    if (!this.#store) throw new Error("the cacher has no broker yet");
    return this.#store;
  }

  override init(broker: ServiceBroker): void {
    // A namespace has no colon, so clearing one namespace never deletes the keys of another.
    this.opts.prefix = `${broker.namespace}:cache`;
    super.init(broker);
    // These listeners would log every reconnection attempt.
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

  /** @returns undefined when it was not stored */
  override async set(key: string, data: unknown, ttl?: number) {
    return (await this.store.attempt(() => super.set(key, data, ttl))) as never;
  }

  override async del(keys: string | string[]): Promise<void> {
    await this.store.attempt((client) => client.unlink([keys].flat().map((key) => this.prefix + key)));
  }

  /** Deletes the keys that match. A name without an asterisk is deleted directly, without a scan of all keys. */
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
 * The cacher for one broker: Redis when REDIS_URL is set, else undefined for the in-memory cacher of the broker. Each
 * broker needs a separate one.
 * @param timeoutMs time limit of a command. Default: 100.
 */
export function cacherOf(
  settings: { readonly REDIS_URL?: string | undefined },
  timeoutMs?: number,
): BrokerOptions["cacher"] {
  return settings.REDIS_URL === undefined ? undefined : new SharedCacher(settings.REDIS_URL, timeoutMs);
}

/** The store that this broker shares with other processes; undefined when its cacher is in memory. */
export function sharedStoreOf(broker: ServiceBroker): SharedStore | undefined {
  return broker.cacher instanceof SharedCacher ? broker.cacher.store : undefined;
}
