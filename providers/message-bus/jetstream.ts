import {
  connect,
  headers,
  type JetStreamManager,
  type NatsConnection,
  type NatsError,
  type PubAck,
} from "nats";
import type { Message } from "../../contracts/messages.ts";
import { MessageBusError } from "./error.ts";
import { startConnection } from "./jetstream-connection.ts";
import { rethrow, toMessageBusError } from "./jetstream-errors.ts";
import { type Reader, startReader } from "./jetstream-reader.ts";
import {
  consumerConfig,
  deployStream,
  ensureConsumer,
  ensureStream,
  hasReplayCapacity,
  type StreamLimits,
  streamConfig,
  streamLimits,
  streamName,
  subjectOf,
} from "./jetstream-stream.ts";
import { startWatch } from "./jetstream-watch.ts";
import type { NatsOptions } from "./nats-options.ts";
import type { MessageBus } from "./port.ts";

/** Below the relay's own timeout, so that the outbox rows store the cause. */
const PUBLISH_TIMEOUT_MS = 3_000;
const API_TIMEOUT_MS = 3_000;
const NO_RESPONDERS = "503";

export { streamLimitsOf } from "./jetstream-stream.ts";

export interface JetStreamOptions {
  nats: NatsOptions;
  /** Names the stream and its subjects, so that several platforms can share a server. */
  namespace: string;
  limits?: Partial<StreamLimits>;
  /** Receives lines for the operator. */
  report?: (line: string) => void;
}

/**
 * The message bus of a platform in several processes: a JetStream stream between outboxes and inboxes. It connects
 * in the background and reconnects without end; `subscribe` rejects only when NATS refuses the user.
 */
export function jetStreamMessageBus(options: JetStreamOptions): MessageBus {
  const { nats, namespace } = options;
  const stream = streamName(namespace);
  const config = streamConfig(namespace, { ...streamLimits, ...options.limits });
  const report = withoutRepeats(options.report);
  const readers = new Set<Reader>();
  const publishing = new Set<Promise<unknown>>();
  let preparing: Promise<JetStreamManager> | undefined;
  let prepared: JetStreamManager | undefined;
  let compared = false;
  let closed = false;

  const jetStream = startConnection({
    nats,
    report,
    onUp: () => watch.reconnected(),
    onDown() {
      prepared = undefined;
      for (const reader of readers) reader.interrupt();
    },
  });

  /** Creates the stream when it is missing. Concurrent calls share one attempt. */
  const prepare = (): Promise<JetStreamManager> => {
    preparing ??= (async () => {
      const manager = await managerOf(jetStream.get());
      const { asWanted } = await jetStream.unlessLost(ensureStream(manager, config)).catch(rethrow(stream));
      // Only at the start, so that a later change by an operator stays. Most users may not change the stream; the
      // user of the deployment may.
      if (!asWanted && !compared) {
        await jetStream.unlessLost(deployStream(manager, config)).catch(() => {
          report(`the stream ${stream} has other settings than this process: deploy it`);
        });
      }
      compared = true;
      prepared = manager;
      return manager;
    })().finally(() => {
      preparing = undefined;
    });
    return preparing;
  };
  /** The stream may have been changed or deleted. */
  const checkStream = () => {
    prepared = undefined;
    void watch.check();
  };

  const publishAll = async (messages: readonly Message[]) => {
    const connection = jetStream.get();
    if (!prepared) await prepare();
    const client = connection.jetstream({ timeout: PUBLISH_TIMEOUT_MS });
    const send = (message: Message, msgID?: string) => {
      const h = headers();
      if (message.traceparent) h.set("traceparent", message.traceparent);
      return client.publish(subjectOf(namespace, message.type), JSON.stringify(message), {
        headers: h,
        ...(msgID && { msgID }),
        expect: { streamName: stream },
      });
    };
    const acks = await Promise.all(messages.map((message) => send(message, message.id)));
    const known = acks.flatMap((ack, index) => (ack.duplicate ? [{ ack, index }] : []));
    if (known.length > 0) {
      // The server remembers ids after a purge too: such a message would count as a duplicate and be missing.
      const gone = await goneFrom(await prepare(), stream, known);
      await Promise.all(gone.map(({ index }) => send(messages[index] as Message)));
    }
  };

  const info = async () => {
    const manager = await prepare();
    return await jetStream.unlessLost(manager.streams.info(stream));
  };
  const watch = startWatch({ stream, report, info });

  const refuseClosed = () => {
    if (closed) throw new MessageBusError("closed", "the message bus is closed");
  };

  return {
    async publish(messages) {
      refuseClosed();
      const work = jetStream.unlessLost(publishAll(messages)).catch((error) => {
        if ((error as NatsError).code === NO_RESPONDERS) checkStream();
        throw toMessageBusError(error, stream);
      });
      publishing.add(work);
      try {
        await work;
      } finally {
        publishing.delete(work);
      }
    },
    async subscribe(group, types, accept) {
      refuseClosed();
      await jetStream.attempted;
      const consumer = consumerConfig(namespace, group, types);
      const reader = startReader({
        ...{ stream, group, inboxPrefix: nats.inboxPrefix, accept, report },
        async connect(stalled) {
          const manager = await prepare();
          if (stalled) report(`the consumer of ${group} does not answer and is created again`);
          await jetStream
            .unlessLost(ensureConsumer(manager, stream, consumer, stalled))
            .catch(rethrow(stream));
          return jetStream.get();
        },
      });
      readers.add(reader);
      return async () => {
        await reader.stop();
        readers.delete(reader);
      };
    },
    async watch(outbox) {
      refuseClosed();
      return watch.add(outbox);
    },
    async ready() {
      if (closed || !(await jetStream.answers())) return false;
      return (
        prepared !== undefined ||
        (await prepare().then(
          () => true,
          () => false,
        ))
      );
    },
    async hasReplayCapacity() {
      refuseClosed();
      return hasReplayCapacity(await info(), Date.now());
    },
    async close() {
      closed = true;
      await Promise.all([...readers].map((reader) => reader.stop()));
      await Promise.allSettled([...publishing, watch.stop()]);
      await jetStream.close();
    },
  };
}

/**
 * Creates the stream or changes it to these settings. The deployment calls it with its own NATS user.
 * @throws MessageBusError with the cause
 */
export async function deployMessageBus({ nats, namespace, limits }: JetStreamOptions): Promise<void> {
  const stream = streamName(namespace);
  let connection: NatsConnection | undefined;
  try {
    connection = await connect({ ...nats, reconnect: false });
    await deployStream(await managerOf(connection), streamConfig(namespace, { ...streamLimits, ...limits }));
  } catch (error) {
    throw toMessageBusError(error, stream);
  } finally {
    await connection?.close();
  }
}

function managerOf(connection: NatsConnection): Promise<JetStreamManager> {
  return connection.jetstreamManager({ checkAPI: false, timeout: API_TIMEOUT_MS });
}

/** The duplicates of `known` that the stream no longer has. */
async function goneFrom<T extends { ack: PubAck }>(
  manager: JetStreamManager,
  stream: string,
  known: readonly T[],
): Promise<T[]> {
  const { state } = await manager.streams.info(stream, { deleted_details: true });
  const deleted = new Set(state.deleted ?? []);
  return known.filter(({ ack }) => ack.seq < state.first_seq || deleted.has(ack.seq));
}

/** Reports the same line at most every 30 seconds: each retry fails with the same error. */
function withoutRepeats(report: (line: string) => void = () => undefined): (line: string) => void {
  const REPEAT_MS = 30_000;
  let last = { line: "", atMs: 0 };
  return (line) => {
    const nowMs = Date.now();
    if (line === last.line && nowMs - last.atMs < REPEAT_MS) return;
    last = { line, atMs: nowMs };
    report(line);
  };
}
