import type { ChannelOptions } from "@grpc/grpc-js";

export const MAX_MESSAGE_BYTES = 1024 * 1024;

const COMMON: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.enable_channelz": 0,
};

export const SERVER_OPTIONS: ChannelOptions = {
  ...COMMON,
  // Connections are renewed now and then, so that a balancer in between sees new members.
  "grpc.max_connection_age_ms": 600_000,
  "grpc.max_connection_age_grace_ms": 10_000,
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
