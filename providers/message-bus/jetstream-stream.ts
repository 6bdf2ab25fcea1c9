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
 * A hand-over of the last ten minutes after each reconnect falls on messages that the stream still knows. Half a
 * megabyte of the server's memory for each message a second.
 */
const DUPLICATE_WINDOW_MS = 720_000;
/** Above the largest message of ours, so that one that is too large is quarantined where an operator sees it. */
const MESSAGE_MAX_BYTES = 524_288;
/** What a member that died had in its hands goes to another after this; who is at work says so in between. */
export const ACK_WAIT_MS = 10_000;
/** Delivered and not yet acknowledged, over all members of a group. */
const ACK_PENDING_MAX = 5_000;
/**
 * How full the stream may be for messages that are handed over again. While it is new nothing in it grows old enough
 * to go, so half is left to what is said until then: enough for a stream that is half full in ordinary times. In one
 * as old as its oldest messages may get, as much goes as comes.
 */
const REPEATS_SHARE = { new: 0.5, old: 0.8 };
const STREAM_NOT_FOUND = 10_059;
const CONSUMER_NOT_FOUND = 10_014;

export interface StreamLimits {
  /** When the stream holds so much it refuses, and the outboxes wait. */
  maxBytes: number;
  /** A group that is away for longer misses messages. */
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

/** The stream of the platform `waybill` is WAYBILL. */
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
    // Each group has a cursor of its own, and a group that is made later finds what was said before.
    retention: RetentionPolicy.Limits,
    // The oldest messages may be those that a group has not had yet, so when it is full the newest must wait.
    discard: DiscardPolicy.New,
    max_bytes: limits.maxBytes,
    max_age: nanos(limits.maxAgeMs),
    max_msg_size: MESSAGE_MAX_BYTES,
    duplicate_window: nanos(Math.min(DUPLICATE_WINDOW_MS, limits.maxAgeMs)),
    num_replicas: limits.replicas,
  };
}

/** The cursor of a consumer group, which all its members share. */
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
    max_deliver: -1, // giving up is the inbox's business
    max_ack_pending: ACK_PENDING_MAX,
  };
}

/** Makes the stream unless it is there. @returns what it is, and whether it is as this process would have it */
export async function ensureStream(
  manager: JetStreamManager,
  wanted: ReturnType<typeof streamConfig>,
): Promise<{ info: StreamInfo; asWanted: boolean }> {
  // Two processes may both find none; the second is answered with the stream that the first has made.
  const info: StreamInfo =
    (await found(manager.streams.info(wanted.name), STREAM_NOT_FOUND)) ??
    (await manager.streams
      .add(wanted)
      .catch(
        (error): Promise<StreamInfo> => manager.streams.info(wanted.name).catch(() => Promise.reject(error)),
      ));
  return { info, asWanted: isAsWanted(info.config, wanted) };
}

/** Makes the stream or brings it to these settings. */
export async function deployStream(
  manager: JetStreamManager,
  wanted: ReturnType<typeof streamConfig>,
): Promise<StreamInfo> {
  const { info, asWanted } = await ensureStream(manager, wanted);
  return asWanted ? info : await manager.streams.update(wanted.name, wanted);
}

/** @param anew although it is there: then the group gets everything again, and its inbox drops what it knows */
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

/** Whether more may be handed over again, with room left for what is fresh until something goes by its age. */
export function hasReplayCapacity({ config, state }: StreamInfo, nowMs: number): boolean {
  if (config.max_bytes <= 0) return true;
  const oldestMs = state.messages === 0 ? nowMs : Date.parse(String(state.first_ts));
  const share = config.max_age > 0 ? Math.min(1, Math.max(0, nowMs - oldestMs) / millis(config.max_age)) : 0;
  const limit = REPEATS_SHARE.new + (REPEATS_SHARE.old - REPEATS_SHARE.new) * share;
  return state.bytes < config.max_bytes * limit;
}

function isAsWanted(is: StreamConfig, wanted: object): boolean {
  return Object.entries(wanted).every(
    ([name, value]) => JSON.stringify(is[name as keyof StreamConfig]) === JSON.stringify(value),
  );
}

async function found<T>(asking: Promise<T>, notFound: number): Promise<T | undefined> {
  try {
    return await asking;
  } catch (error) {
    if ((error as NatsError).api_error?.err_code === notFound) return undefined;
    throw error;
  }
}
