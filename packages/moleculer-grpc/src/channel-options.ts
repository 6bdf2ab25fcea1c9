import type { ChannelOptions } from "@grpc/grpc-js";

/** Maximum size of a request or response. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
/** Maximum size of what a peer stream carries beside one message: credentials, trace context, error. */
const OVERHEAD_BYTES = 128 * 1024;

/** Maximum number of running calls on one peer stream. */
export const MAX_STREAM_CALLS = 1_000;
/** Maximum size of the frames that wait on one side of a peer stream because the other side does not read. */
export const MAX_STREAM_PENDING_BYTES = 16 * 1024 * 1024;
/** A peer stream is replaced before its connection is renewed, so that the renewal interrupts no call. */
export const STREAM_AGE_MS = 300_000;

const COMMON: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES + OVERHEAD_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES + OVERHEAD_BYTES,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.enable_channelz": 0,
};

export const SERVER_OPTIONS: ChannelOptions = {
  ...COMMON,
  // Connections are renewed, so that a load balancer in between uses new members.
  "grpc.max_connection_age_ms": 600_000,
  "grpc.max_connection_age_grace_ms": STREAM_AGE_MS + 10_000,
  "grpc.max_concurrent_streams": 1_000,
};

export const CLIENT_OPTIONS: ChannelOptions = {
  ...COMMON,
  "grpc.keepalive_permit_without_calls": 1,
  // A restarted node is reconnected quickly.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  // Nodes connect directly: no proxy from the environment, and no retry policy from DNS.
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
  // Closing a channel closes its connections.
  "grpc.use_local_subchannel_pool": 1,
};
