import type { ChannelOptions } from "@grpc/grpc-js";

/** The most that a call or an answer may have. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
/** The most that is said beside one such message where it goes over a link: credentials, trace, error. */
const BESIDE_BYTES = 128 * 1024;

/** The method that links are streams of. */
export const LINK_PATH = "/waybill.bridge.v1.Bridge/Link";
/** So many calls may be under way over one link. */
export const MAX_LINK_CALLS = 1_000;
/** So much may wait on one side of a link because the other does not read. */
export const MAX_LINK_WAITING_BYTES = 16 * 1024 * 1024;
/** A link is replaced by a new one before the connection below it is renewed, or would be cut off in its work. */
export const LINK_AGE_MS = 300_000;

const COMMON: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES + BESIDE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES + BESIDE_BYTES,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.enable_channelz": 0,
};

export const SERVER_OPTIONS: ChannelOptions = {
  ...COMMON,
  // Connections are renewed now and then, so that a balancer in between sees new members.
  "grpc.max_connection_age_ms": 600_000,
  "grpc.max_connection_age_grace_ms": LINK_AGE_MS + 10_000,
  "grpc.max_concurrent_streams": 1_000,
};

export const CLIENT_OPTIONS: ChannelOptions = {
  ...COMMON,
  "grpc.keepalive_permit_without_calls": 1,
  // A node that came back is found quickly.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  // Peers are ours: no proxy of the environment, and no retry policy out of somebody's DNS.
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
  // A channel that is closed takes its connections along.
  "grpc.use_local_subchannel_pool": 1,
};
