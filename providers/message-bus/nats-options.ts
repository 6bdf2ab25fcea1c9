import { hostname } from "node:os";
import type { ConnectionOptions } from "nats";

const CONNECT_TIMEOUT_MS = 3_000;
const PING_INTERVAL_MS = 10_000;
const RECONNECT_WAIT_MS = 250;
const RECONNECT_JITTER_MS = 250;

export type NatsOptions = ConnectionOptions;

/**
 * How this process connects to NATS, both for the message bus and as `options` of Moleculer's transporter. It
 * reconnects without end and soon, with jitter so that a hundred processes do not reconnect at once, and pings often
 * enough to notice a lost server.
 *
 * Each user receives answers under its own inbox prefix: under a shared prefix, every user could read the answers to
 * others. Returns a new object each time, because Moleculer writes into its options.
 */
export function natsOptions(config: {
  NATS_URL: string;
  NATS_USER?: string | undefined;
  NATS_PASSWORD?: string | undefined;
}): NatsOptions {
  const { protocol, host, username, password } = new URL(config.NATS_URL);
  const user = config.NATS_USER ?? (decodeURIComponent(username) || undefined);
  const pass = config.NATS_PASSWORD ?? (decodeURIComponent(password) || undefined);
  return {
    servers: [host],
    ...(protocol === "tls:" && { tls: {} }),
    ...(user !== undefined && { user, pass: pass ?? "", inboxPrefix: `_INBOX.${user}` }),
    name: `${user ?? "waybill"} on ${hostname()}`,
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: PING_INTERVAL_MS,
    maxPingOut: 2,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    ignoreAuthErrorAbort: true, // reconnecting must go on while a password is rotated
  } as NatsOptions;
}
