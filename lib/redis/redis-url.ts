import type { RedisOptions } from "ioredis";

const CONNECT_TIMEOUT_MS = 1_000;
/** Nothing heard for this long although something was asked: the connection is dead, whatever TCP believes. */
const SILENCE_MAX_MS = 1_500;
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 1_500;
const KEEP_ALIVE_MS = 10_000;

/**
 * How Redis is reached: `redis://user:password@host:6379/0`, or `rediss://` for TLS.
 *
 * Nothing waits in a queue while Redis is away, nothing is sent again after a broken connection (a counter would
 * count twice), and connecting is tried for ever.
 */
export function redisOptions(url: string): RedisOptions {
  const { protocol, hostname, port, username, password, pathname } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "") || "127.0.0.1";
  return {
    host,
    port: Number(port) || 6379,
    db: Number(pathname.slice(1)) || 0,
    // Both families: the default of the library is IPv4 alone.
    family: 0,
    ...(username && { username: decodeURIComponent(username) }),
    ...(password && { password: decodeURIComponent(password) }),
    ...(protocol === "rediss:" && { tls: {} }),
    connectionName: "waybill",
    disableClientInfo: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SILENCE_MAX_MS,
    keepAlive: KEEP_ALIVE_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (tries) => Math.min(RETRY_FIRST_MS * 2 ** Math.min(tries, 10), RETRY_MAX_MS),
    // After a failover the old primary refuses writes: connect anew, which finds the new one.
    reconnectOnError: ({ message }) => (message.startsWith("READONLY") ? 1 : false),
  };
}
