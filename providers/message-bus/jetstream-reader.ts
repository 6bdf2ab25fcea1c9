import { createInbox, type Msg, type NatsConnection, nanos } from "nats";
import { type Backoff, backoffMs } from "../../lib/backoff.ts";
import { waitAtMost } from "../../lib/timeout.ts";
import { pause } from "./jetstream-connection.ts";
import { ACK_WAIT_MS } from "./jetstream-stream.ts";

/** One statement of the inbox writes so many messages efficiently. */
const BATCH = 500;
const PULL_MS = 10_000;
const HEARTBEAT_MS = 2_000;
/** After so long without a heartbeat, the server or the consumer is gone. */
const SILENCE_MS = 5_000;
/** After so many unanswered pulls in a row, an existing consumer is created again. */
const STALLED_PULLS = 3;
const DRAIN_TIMEOUT_MS = 1_000;
const WORKING_INTERVAL_MS = ACK_WAIT_MS / 4;
const REDELIVERY: Backoff = { firstMs: 100, factor: 2, maxMs: 5_000, jitter: 0.5 };
const RETRY: Backoff = { firstMs: 100, factor: 2, maxMs: 2_000, jitter: 0.5 };

const ACK = "+ACK";
const IN_PROGRESS = "+WPI";
const decoder = new TextDecoder();

/** How a pull ended. `over`: its time or its batch is over; `interrupted`: by `interrupt`; `gone`: no answer. */
type PullEnd = "over" | "interrupted" | "gone";

export interface Reader {
  /** Ends the running pull and connects again. */
  interrupt(): void;
  /** Ends after the running delivery. Messages that were not delivered go back to the server at once. */
  stop(): Promise<void>;
}

/**
 * One member of a consumer group: it pulls a batch, commits it by `accept`, and then acknowledges it. It speaks the
 * protocol itself, because the client's `consume` does not notice that its consumer was deleted.
 * @param connect returns the connection after it has created the stream and the consumer where they are missing.
 *   With `stalled` it creates an existing consumer again: after a server's restart, consumers were seen that exist and
 *   do not answer
 */
export function startReader(options: {
  stream: string;
  group: string;
  /** The prefix of the subjects on which this user may receive answers. */
  inboxPrefix?: string | undefined;
  connect: (stalled: boolean) => Promise<NatsConnection>;
  accept: (messages: readonly unknown[], redelivered: boolean) => Promise<void>;
  report: (line: string) => void;
}): Reader {
  const { stream, group, inboxPrefix, connect, accept, report } = options;
  const queue: Msg[] = [];
  /** Received and not yet answered. */
  const unanswered = new Set<Msg>();
  let stopped = false;
  let endPull: (end: PullEnd) => void = () => undefined;
  let waiting = new AbortController();
  let delivering: Promise<void> | undefined;
  let draining: Promise<void> | undefined;
  // After a refused batch, messages are delivered one by one, so that one message cannot block the others.
  let batchSize = BATCH;

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
        // Drained, so that messages in flight are answered now and not redelivered only after ACK_WAIT_MS.
        const drained = connection.isClosed() ? Promise.resolve() : subscription.drain();
        draining = waitAtMost(DRAIN_TIMEOUT_MS, drained);
        resolve(how);
      };
      const restartSilenceTimer = () => {
        clearTimeout(silence);
        silence = setTimeout(() => end("gone"), SILENCE_MS);
      };
      const subscription = connection.subscribe(inbox, {
        callback: (error, msg) => {
          if (error) return end("gone");
          if (!ended) restartSilenceTimer();
          if (msg.subject !== inbox) {
            if (stopped) return answer(msg, nak(0));
            queue.push(msg);
            unanswered.add(msg);
            delivering ??= deliver();
            missing -= 1;
            if (missing === 0) end("over");
          } else if (msg.headers && msg.headers.code !== 100) {
            // 404 and 408: the pull's time is over. Other codes: the consumer was changed or deleted.
            end(msg.headers.code === 404 || msg.headers.code === 408 ? "over" : "gone");
          }
        },
      });
      endPull = end;
      restartSilenceTimer();
      const request = { batch: BATCH, expires: nanos(PULL_MS), idle_heartbeat: nanos(HEARTBEAT_MS) };
      connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${group}`, JSON.stringify(request), {
        reply: inbox,
      });
    });

  const deliver = async () => {
    while (queue.length > 0 && !stopped) {
      const batch = queue.splice(0, batchSize);
      try {
        const redelivered = batch.some((msg) => deliveriesOf(msg) > 1);
        await accept(
          batch.map(({ data }) => parse(data)),
          redelivered,
        );
        batchSize = Math.min(BATCH, batchSize * 2);
        for (const msg of batch) answer(msg, ACK);
      } catch (error) {
        batchSize = 1;
        report(`the inbox of ${group} refused ${batch.length} messages: ${error}`);
        for (const msg of batch) answer(msg, nak(backoffMs(REDELIVERY, deliveriesOf(msg))));
      }
    }
    delivering = undefined;
    waiting.abort();
  };
  const answer = (msg: Msg, word: string) => {
    if (word !== IN_PROGRESS) unanswered.delete(msg);
    try {
      msg.respond(word);
    } catch {
      // Without a connection the server redelivers the message, and the inbox drops the duplicate.
    }
  };

  const work = async () => {
    let connection: NatsConnection | undefined;
    let unansweredPulls = 0;
    for (let failures = 0; !stopped; ) {
      waiting = new AbortController();
      if (queue.length >= BATCH) {
        await pause(ACK_WAIT_MS, waiting.signal);
        continue;
      }
      let end: PullEnd = "interrupted";
      try {
        connection ??= await connect(unansweredPulls >= STALLED_PULLS);
        if (stopped) return;
        end = await pull(connection);
        unansweredPulls = end === "gone" ? unansweredPulls + 1 : 0;
      } catch (error) {
        unansweredPulls = 0;
        report(`${group} receives no messages: ${error instanceof Error ? error.message : error}`);
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
    for (const msg of unanswered) answer(msg, IN_PROGRESS);
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
      for (const msg of queue.splice(0)) answer(msg, nak(0));
      await Promise.all([working, delivering]);
      await draining;
      clearInterval(heartbeat);
    },
  };
}

/** Returns the text itself when it is not JSON: the inbox quarantines it. */
function parse(data: Uint8Array): unknown {
  const text = decoder.decode(data);
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function nak(delayMs: number): string {
  return delayMs === 0 ? "-NAK" : `-NAK ${JSON.stringify({ delay: nanos(delayMs) })}`;
}

/** How often the message was delivered. The reply subject ends in `.deliveries.sequence.sequence.time.pending`. */
function deliveriesOf({ reply = "" }: Msg): number {
  const words = reply.split(".");
  return Number(words.length === 9 ? words[4] : words[6]) || 1;
}
