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
import { explain, explained } from "./jetstream-errors.ts";
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

/** Below the relay's own patience, so that its rows say what was wrong. */
const PUBLISH_TIMEOUT_MS = 3_000;
const API_TIMEOUT_MS = 3_000;
const NO_RESPONDERS = "503";

export { streamLimitsOf } from "./jetstream-stream.ts";

export interface JetStreamOptions {
  nats: NatsOptions;
  /** Names the stream and its subjects, so that platforms may share a server. */
  namespace: string;
  limits?: Partial<StreamLimits>;
  /** Hears what an operator should know, in one line. */
  report?: (line: string) => void;
}

/**
 * The message bus of a platform in several processes: a JetStream stream between outboxes and inboxes. It connects in
 * the background and comes back for as long as it takes; `subscribe` rejects only when NATS refuses the user.
 */
export function jetStreamMessageBus(options: JetStreamOptions): MessageBus {
  const { nats, namespace } = options;
  const stream = streamName(namespace);
  const wanted = streamConfig(namespace, { ...streamLimits, ...options.limits });
  const report = seldom(options.report);
  const readers = new Set<Reader>();
  const publishing = new Set<Promise<unknown>>();
  let preparing: Promise<JetStreamManager> | undefined;
  let prepared: JetStreamManager | undefined;
  let compared = false;
  let closed = false;

  const link = startConnection({
    nats,
    report,
    onUp: () => watch.reconnected(),
    onDown() {
      prepared = undefined;
      for (const reader of readers) reader.interrupt();
    },
  });

  /** The way to a stream that is there: made by whoever first finds that it is not. */
  const prepare = (): Promise<JetStreamManager> => {
    preparing ??= (async () => {
      const manager = await managerOf(link.get());
      const { asWanted } = await link.unlessLost(ensureStream(manager, wanted)).catch(explain(stream));
      // At the start only, so that what an operator changed is not changed back; and few users may. Who deploys may.
      if (!asWanted && !compared) {
        await link.unlessLost(deployStream(manager, wanted)).catch(() => {
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
  /** Something shows that the stream may no longer be what it was. */
  const doubt = () => {
    prepared = undefined;
    void watch.check();
  };

  const publishAll = async (messages: readonly Message[]) => {
    const connection = link.get();
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
      // The server remembers ids for a while after a purge too: such a message would be "known", and nowhere.
      const gone = await goneFrom(await prepare(), stream, known);
      await Promise.all(gone.map(({ index }) => send(messages[index] as Message)));
    }
  };

  const info = async () => {
    const manager = await prepare();
    return await link.unlessLost(manager.streams.info(stream));
  };
  const watch = startWatch({ stream, report, info });

  const refuseClosed = () => {
    if (closed) throw new MessageBusError("closed", "the message bus is closed");
  };

  return {
    async publish(messages) {
      refuseClosed();
      const work = link.unlessLost(publishAll(messages)).catch((error) => {
        if ((error as NatsError).code === NO_RESPONDERS) doubt();
        throw explained(error, stream);
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
      await link.attempted;
      const consumer = consumerConfig(namespace, group, types);
      const reader = startReader({
        ...{ stream, group, inboxPrefix: nats.inboxPrefix, accept, report },
        async connect(stalled) {
          const manager = await prepare();
          if (stalled) report(`the cursor of ${group} does not answer: it is made anew`);
          await link.unlessLost(ensureConsumer(manager, stream, consumer, stalled)).catch(explain(stream));
          return link.get();
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
      if (closed || !(await link.answers())) return false;
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
      await link.close();
    },
  };
}

/**
 * Makes the stream or brings it to these settings, as the deployment does with a user of its own.
 * @throws MessageBusError that says what is wrong
 */
export async function deployMessageBus({ nats, namespace, limits }: JetStreamOptions): Promise<void> {
  const stream = streamName(namespace);
  let connection: NatsConnection | undefined;
  try {
    connection = await connect({ ...nats, reconnect: false });
    await deployStream(await managerOf(connection), streamConfig(namespace, { ...streamLimits, ...limits }));
  } catch (error) {
    throw explained(error, stream);
  } finally {
    await connection?.close();
  }
}

function managerOf(connection: NatsConnection): Promise<JetStreamManager> {
  return connection.jetstreamManager({ checkAPI: false, timeout: API_TIMEOUT_MS });
}

/** Those of the messages said to be known that the stream has no longer. */
async function goneFrom<T extends { ack: PubAck }>(
  manager: JetStreamManager,
  stream: string,
  known: readonly T[],
): Promise<T[]> {
  const { state } = await manager.streams.info(stream, { deleted_details: true });
  const deleted = new Set(state.deleted ?? []);
  return known.filter(({ ack }) => ack.seq < state.first_seq || deleted.has(ack.seq));
}

/** Says a line at most once in a while: what is tried again fails again. */
function seldom(report: (line: string) => void = () => undefined): (line: string) => void {
  const REPEAT_MS = 30_000;
  let last = { line: "", atMs: 0 };
  return (line) => {
    const nowMs = Date.now();
    if (line === last.line && nowMs - last.atMs < REPEAT_MS) return;
    last = { line, atMs: nowMs };
    report(line);
  };
}
