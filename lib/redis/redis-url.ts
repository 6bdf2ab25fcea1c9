import type { RedisOptions } from "ioredis";

const CONNECT_TIMEOUT_MS = 1_000;
/** A connection without data for this time, while a command waits for its answer, is closed. */
const SOCKET_TIMEOUT_MS = 1_500;
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 1_500;
const KEEP_ALIVE_MS = 10_000;

/**
 * Options of the client for `redis://user:password@host:6379/0`, or `rediss://` for TLS.
 *
 * Commands are not queued while Redis is unavailable, and not repeated after a lost connection, since a counter would count
 * twice. The client reconnects without a limit.
 */
export function redisOptions(url: string): RedisOptions {
  const { protocol, hostname, port, username, password, pathname } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "") || "127.0.0.1";
  return {
    host,
    port: Number(port) || 6379,
    db: Number(pathname.slice(1)) || 0,
    // IPv4 and IPv6. The default of the library is only IPv4.
    family: 0,
    ...(username && { username: decodeURIComponent(username) }),
    ...(password && { password: decodeURIComponent(password) }),
    ...(protocol === "rediss:" && { tls: {} }),
    connectionName: "waybill",
    disableClientInfo: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
    keepAlive: KEEP_ALIVE_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (tries) => Math.min(RETRY_FIRST_MS * 2 ** Math.min(tries, 10), RETRY_MAX_MS),
    // After a failover the old primary refuses writes. A new connection reaches the new primary.
    reconnectOnError: ({ message }) => (message.startsWith("READONLY") ? 1 : false),
  };
}
