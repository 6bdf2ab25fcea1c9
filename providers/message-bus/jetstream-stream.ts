import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  type JetStreamManager,
  millis,
  type NatsError,
  nanos,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "nats";

const HOUR_MS = 3_600_000;
const MB = 1_048_576;
/**
 * Longer than the last ten minutes that are replayed after a reconnect, so that the stream drops the duplicates. Costs
 * the server half a megabyte of memory for each message a second.
 */
const DUPLICATE_WINDOW_MS = 720_000;
/** Above our largest message: a larger one reaches the inbox, which quarantines it for the operator. */
const MESSAGE_MAX_BYTES = 524_288;
/** After this, another member receives what a crashed member left unanswered. Working members extend the time. */
export const ACK_WAIT_MS = 10_000;
/** Delivered and not yet acknowledged, over all members of a group. */
const ACK_PENDING_MAX = 5_000;
/**
 * The largest share of the stream that may be used while messages are replayed. In a new stream no message expires
 * yet, so half is left for new messages: enough for a stream that is normally half full. In a stream as old as its
 * maximum age, as many messages expire as arrive.
 */
const REPLAY_SHARE = { new: 0.5, old: 0.8 };
const STREAM_NOT_FOUND = 10_059;
const CONSUMER_NOT_FOUND = 10_014;

export interface StreamLimits {
  /** A stream of this size refuses messages, and the outboxes wait. */
  maxBytes: number;
  /** A group that is offline for longer misses messages. */
  maxAgeMs: number;
  replicas: number;
}

/** Half a million messages: three days of ten orders a minute. */
export const streamLimits: StreamLimits = { maxBytes: 1024 * MB, maxAgeMs: 72 * HOUR_MS, replicas: 1 };

export function streamLimitsOf(config: {
  NATS_STREAM_MAX_MB: number;
  NATS_STREAM_MAX_AGE_HOURS: number;
  NATS_STREAM_REPLICAS: number;
}): StreamLimits {
  return {
    maxBytes: config.NATS_STREAM_MAX_MB * MB,
    maxAgeMs: config.NATS_STREAM_MAX_AGE_HOURS * HOUR_MS,
    replicas: config.NATS_STREAM_REPLICAS,
  };
}

/** The namespace in upper case: the stream of `waybill` is WAYBILL. */
export function streamName(namespace: string): string {
  return namespace.toUpperCase();
}

export function subjectOf(namespace: string, type: string): string {
  return `${namespace}.${type}`;
}

export function streamConfig(
  namespace: string,
  limits: StreamLimits,
): Partial<StreamConfig> & { name: string } {
  return {
    name: streamName(namespace),
    description: "Waybill's messages on their way from the outboxes to the inboxes",
    subjects: [subjectOf(namespace, ">")],
    storage: StorageType.File,
    // Each group has its own consumer, and a group that is created later reads the earlier messages too.
    retention: RetentionPolicy.Limits,
    // A full stream refuses new messages: a group may not have received the oldest ones yet.
    discard: DiscardPolicy.New,
    max_bytes: limits.maxBytes,
    max_age: nanos(limits.maxAgeMs),
    max_msg_size: MESSAGE_MAX_BYTES,
    duplicate_window: nanos(Math.min(DUPLICATE_WINDOW_MS, limits.maxAgeMs)),
    num_replicas: limits.replicas,
  };
}

/** The durable consumer of a group, which all its members share. */
export function consumerConfig(
  namespace: string,
  group: string,
  types: readonly string[],
): Partial<ConsumerConfig> & { durable_name: string; filter_subjects: string[] } {
  return {
    durable_name: group,
    filter_subjects: types.map((type) => subjectOf(namespace, type)).sort(),
    deliver_policy: DeliverPolicy.All,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(ACK_WAIT_MS),
    replay_policy: ReplayPolicy.Instant,
    max_deliver: -1, // the inbox decides when to give up
    max_ack_pending: ACK_PENDING_MAX,
  };
}

/** Creates the stream unless it exists. @returns its state, and whether its settings are the wanted ones */
export async function ensureStream(
  manager: JetStreamManager,
  wanted: ReturnType<typeof streamConfig>,
): Promise<{ info: StreamInfo; asWanted: boolean }> {
  // Two processes may both find none: the second then reads the stream that the first created.
  const info: StreamInfo =
    (await found(manager.streams.info(wanted.name), STREAM_NOT_FOUND)) ??
    (await manager.streams
      .add(wanted)
      .catch(
        (error): Promise<StreamInfo> => manager.streams.info(wanted.name).catch(() => Promise.reject(error)),
      ));
  return { info, asWanted: isAsWanted(info.config, wanted) };
}

/** Creates the stream or changes it to these settings. */
export async function deployStream(
  manager: JetStreamManager,
  wanted: ReturnType<typeof streamConfig>,
): Promise<StreamInfo> {
  const { info, asWanted } = await ensureStream(manager, wanted);
  return asWanted ? info : await manager.streams.update(wanted.name, wanted);
}

/**
 * Creates the consumer of a group or changes its filter.
 * @param anew creates it again even if it exists: the group then receives everything again, and its inbox drops the
 *   duplicates
 */
export async function ensureConsumer(
  manager: JetStreamManager,
  stream: string,
  wanted: ReturnType<typeof consumerConfig>,
  anew: boolean,
): Promise<void> {
  const name = wanted.durable_name;
  const info = await found(manager.consumers.info(stream, name), CONSUMER_NOT_FOUND);
  if (info && anew) await manager.consumers.delete(stream, name);
  if (!info || anew) {
    await manager.consumers.add(stream, wanted);
    return;
  }
  const filters = info.config.filter_subjects ?? [info.config.filter_subject ?? ""];
  const same = [...filters].sort().join() === wanted.filter_subjects.join();
  if (!same) await manager.consumers.update(stream, name, wanted);
}

/** Whether the stream has space for replayed messages and for the new ones until older messages expire. */
export function hasReplayCapacity({ config, state }: StreamInfo, nowMs: number): boolean {
  if (config.max_bytes <= 0) return true;
  const oldestMs = state.messages === 0 ? nowMs : Date.parse(String(state.first_ts));
  const share = config.max_age > 0 ? Math.min(1, Math.max(0, nowMs - oldestMs) / millis(config.max_age)) : 0;
  const limit = REPLAY_SHARE.new + (REPLAY_SHARE.old - REPLAY_SHARE.new) * share;
  return state.bytes < config.max_bytes * limit;
}

function isAsWanted(is: StreamConfig, wanted: object): boolean {
  return Object.entries(wanted).every(
    ([name, value]) => JSON.stringify(is[name as keyof StreamConfig]) === JSON.stringify(value),
  );
}

async function found<T>(request: Promise<T>, notFound: number): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if ((error as NatsError).api_error?.err_code === notFound) return undefined;
    throw error;
  }
}
