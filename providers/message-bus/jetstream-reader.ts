import { createInbox, type Msg, type NatsConnection, nanos } from "nats";
import { type Backoff, backoffMs } from "../../lib/backoff.ts";
import { pause } from "./jetstream-connection.ts";
import { ACK_WAIT_MS } from "./jetstream-stream.ts";

/** As many as one statement of the inbox takes well. */
const BATCH = 500;
const PULL_MS = 10_000;
const HEARTBEAT_MS = 2_000;
/** The server died, or lost the consumer, without a word. */
const SILENCE_MS = 5_000;
/** So many pulls in a row that a consumer which is there did not answer. */
const STALLED_PULLS = 3;
const LEAVE_MS = 1_000;
const WORKING_INTERVAL_MS = ACK_WAIT_MS / 4;
const REDELIVERY: Backoff = { firstMs: 100, factor: 2, maxMs: 5_000, jitter: 0.5 };
const RETRY: Backoff = { firstMs: 100, factor: 2, maxMs: 2_000, jitter: 0.5 };

const ACK = "+ACK";
const IN_PROGRESS = "+WPI";
const decoder = new TextDecoder();

/** How a pull ended: by its term or its last message; by a broken connection; or because nobody answers it. */
type PullEnd = "over" | "interrupted" | "gone";

export interface Reader {
  /** Gives up the running pull and looks again how things stand. */
  interrupt(): void;
  /** Ends after the running delivery; what has come but was not begun goes back at once. */
  stop(): Promise<void>;
}

/**
 * One member of a consumer group: pulls, has each batch committed, and acknowledges it only then. Its own lines on
 * the protocol instead of the client's `consume`, which keeps asking for a consumer that is no longer there.
 * @param connect the connection, with the stream and the group's consumer made where they are missing; anew if the
 *   consumer is there and does not answer, as was seen after restarts of a server
 */
export function startReader(options: {
  stream: string;
  group: string;
  /** Where this user may be answered. */
  inboxPrefix?: string | undefined;
  connect: (stalled: boolean) => Promise<NatsConnection>;
  accept: (messages: readonly unknown[]) => Promise<void>;
  report: (line: string) => void;
}): Reader {
  const { stream, group, inboxPrefix, connect, accept, report } = options;
  const queue: Msg[] = [];
  /** Delivered to us and not yet answered. */
  const held = new Set<Msg>();
  let stopped = false;
  let endPull: (end: PullEnd) => void = () => undefined;
  let waiting = new AbortController();
  let delivering: Promise<void> | undefined;
  let leaving: Promise<void> | undefined;
  // What was refused together is tried one by one, so that one message cannot hold up others for ever.
  let limit = BATCH;

  const pull = (connection: NatsConnection) =>
    new Promise<PullEnd>((resolve) => {
      const inbox = createInbox(inboxPrefix);
      let missing = BATCH;
      let ended = false;
      let silence: NodeJS.Timeout;
      const end = (how: PullEnd) => {
        if (ended) return;
        ended = true;
        clearTimeout(silence);
        endPull = () => undefined;
        // What is on its way to us when we leave is not to wait for the server to miss the acknowledgement.
        const left = connection.isClosed() ? Promise.resolve() : subscription.drain().catch(() => undefined);
        leaving = Promise.race([left, pause(LEAVE_MS)]);
        resolve(how);
      };
      const heard = () => {
        clearTimeout(silence);
        silence = setTimeout(() => end("gone"), SILENCE_MS);
      };
      const subscription = connection.subscribe(inbox, {
        callback: (error, msg) => {
          if (error) return end("gone");
          if (!ended) heard();
          if (msg.subject !== inbox) {
            if (stopped) return answer(msg, notNow(0));
            queue.push(msg);
            held.add(msg);
            delivering ??= deliver();
            missing -= 1;
            if (missing === 0) end("over");
          } else if (msg.headers && msg.headers.code !== 100) {
            // 404 and 408: the pull's time is over. Anything else: it is not the consumer that it was.
            end(msg.headers.code === 404 || msg.headers.code === 408 ? "over" : "gone");
          }
        },
      });
      endPull = end;
      heard();
      const wish = { batch: BATCH, expires: nanos(PULL_MS), idle_heartbeat: nanos(HEARTBEAT_MS) };
      connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${group}`, JSON.stringify(wish), {
        reply: inbox,
      });
    });

  const deliver = async () => {
    while (queue.length > 0 && !stopped) {
      const batch = queue.splice(0, limit);
      try {
        await accept(batch.map(({ data }) => read(data)));
        limit = Math.min(BATCH, limit * 2);
        for (const msg of batch) answer(msg, ACK);
      } catch (error) {
        limit = 1;
        report(`the inbox of ${group} did not take ${batch.length} messages: ${error}`);
        for (const msg of batch) answer(msg, notNow(backoffMs(REDELIVERY, deliveriesOf(msg))));
      }
    }
    delivering = undefined;
    waiting.abort();
  };
  const answer = (msg: Msg, word: string) => {
    if (word !== IN_PROGRESS) held.delete(msg);
    try {
      msg.respond(word);
    } catch {
      // Without a connection the message comes again, and the inbox knows it.
    }
  };

  const work = async () => {
    let connection: NatsConnection | undefined;
    let unanswered = 0;
    for (let failures = 0; !stopped; ) {
      waiting = new AbortController();
      if (queue.length >= BATCH) {
        await pause(ACK_WAIT_MS, waiting.signal);
        continue;
      }
      let end: PullEnd = "interrupted";
      try {
        connection ??= await connect(unanswered >= STALLED_PULLS);
        if (stopped) return;
        end = await pull(connection);
        unanswered = end === "gone" ? unanswered + 1 : 0;
      } catch (error) {
        unanswered = 0;
        report(`${group} gets no messages: ${error instanceof Error ? error.message : error}`);
      }
      if (end === "over") {
        failures = 0;
        continue;
      }
      connection = undefined;
      failures += 1;
      if (!stopped) await pause(backoffMs(RETRY, failures), waiting.signal);
    }
  };
  const heartbeat = setInterval(() => {
    for (const msg of held) answer(msg, IN_PROGRESS);
  }, WORKING_INTERVAL_MS);
  heartbeat.unref();

  const working = work();
  return {
    interrupt() {
      endPull("interrupted");
      waiting.abort();
    },
    async stop() {
      stopped = true;
      this.interrupt();
      for (const msg of queue.splice(0)) answer(msg, notNow(0));
      await Promise.all([working, delivering]);
      await leaving;
      clearInterval(heartbeat);
    },
  };
}

/** What came, as it is: the inbox puts aside what is no message. */
function read(data: Uint8Array): unknown {
  const text = decoder.decode(data);
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function notNow(delayMs: number): string {
  return delayMs === 0 ? "-NAK" : `-NAK ${JSON.stringify({ delay: nanos(delayMs) })}`;
}

/** How often it was delivered; stands in the subject of the answer, from the end: …deliveries.sequence.sequence.time.pending */
function deliveriesOf({ reply = "" }: Msg): number {
  const words = reply.split(".");
  return Number(words.length === 9 ? words[4] : words[6]) || 1;
}
