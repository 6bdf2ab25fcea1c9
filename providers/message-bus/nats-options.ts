import { hostname } from "node:os";
import type { ConnectionOptions } from "nats";

const CONNECT_TIMEOUT_MS = 3_000;
const PING_INTERVAL_MS = 10_000;
const RECONNECT_WAIT_MS = 250;
const RECONNECT_JITTER_MS = 250;

export type NatsOptions = ConnectionOptions;

/**
 * How this process connects to NATS, for the message bus and as `options` of Moleculer's transporter alike: it
 * reconnects for ever and soon, with chance in the waits so that a hundred processes do not come back at once, and
 * pings often enough to notice a peer that vanished without a word.
 *
 * The answers to a user's requests arrive under an inbox prefix of its own, since whoever may subscribe to the
 * common prefix reads everybody's answers. A fresh object each time: Moleculer writes into its options.
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
    ignoreAuthErrorAbort: true, // a password that is being rotated must not end the reconnecting
  } as NatsOptions;
}
