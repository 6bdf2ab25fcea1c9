import type { ServerResponse } from "node:http";
import { call } from "../../../contracts/actions.ts";
import { fail, typeOf } from "../../../contracts/errors.ts";
import type { LiveData } from "../../../contracts/live.ts";
import { orderEvent } from "../../../contracts/orders.ts";
import type { Infer } from "../../../contracts/schema.ts";
import type { Position } from "../../../contracts/shared.ts";
import { SetsByKey } from "../../../lib/sets-by-key.ts";
import { send } from "../answers/answer.ts";
import { encoder } from "../pipeline/codec.ts";

const MAX_STREAMS = 2_000;
const MAX_STREAMS_OF_ONE_USER = 10;
/** Prevents proxies from closing the stream, and finds moves whose event was lost. */
const HEARTBEAT_INTERVAL_MS = 15_000;
const RECONNECT_AFTER_MS = 2_000;
/** The history may be slightly behind the event. */
const HISTORY_RETRY_DELAY_MS = 150;
const MAX_HISTORY_RETRIES = 20;
/** A client that does not read its stream is disconnected. */
const MAX_UNREAD_BYTES = 256 * 1024;
const STREAM_HEADERS = {
  "Content-Type": "text/event-stream; charset=utf-8",
  "Cache-Control": "no-store",
  "X-Accel-Buffering": "no",
};

type HistoryEvents = Infer<typeof orderEvent>[];

export interface Subscription {
  orderId: string;
  userId: string;
  /** The last version that the client has received. */
  afterVersion: number;
  /** Reads the order's history with the rights of the user. */
  history: () => Promise<HistoryEvents>;
  /** Reads the current version of the order. The history may be slightly behind it. */
  version: () => Promise<number>;
}

export interface OrderStreams {
  /**
   * Answers with a stream of the moves after `afterVersion` and of all later ones. It ends when the client disconnects,
   * when the user may no longer see the order, and when the gateway stops.
   * @throws OVERLOADED, TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE when the gateway stops meanwhile, and every error of
   * `history`
   */
  open(subscription: Subscription, res: ServerResponse, headers: Record<string, string>): Promise<void>;
  /**
   * Answers a HEAD request with the headers of the stream. It does not count as an open stream.
   * @throws every error of `history`
   */
  sendHeaders(
    subscription: Subscription,
    res: ServerResponse,
    headers: Record<string, string>,
  ): Promise<void>;
  moved(event: LiveData<"order.moved">): void;
  position(event: LiveData<"order.position">): void;
  /** Ends all streams. Their clients reconnect to another gateway and resume there. */
  close(): void;
}

interface Stream {
  moved(version: number): void;
  position(position: Position, at: string): void;
  end(): void;
}

const encodeEvent = encoder(orderEvent);

export function orderStreams(): OrderStreams {
  const byOrder = new SetsByKey<string, Stream>();
  const byUser = new SetsByKey<string, Stream>();
  const all = new Set<Stream>();

  const register = ({ orderId, userId }: Subscription, stream: Stream) => {
    all.add(stream);
    byUser.add(userId, stream);
    byOrder.add(orderId, stream);
    return () => {
      all.delete(stream);
      byUser.delete(userId, stream);
      byOrder.delete(orderId, stream);
    };
  };

  return {
    async open(subscription, res, headers) {
      // A closed response emits no further `close`, so the stream would stay registered forever.
      if (res.destroyed) return;
      if (all.size >= MAX_STREAMS) throw fail("OVERLOADED", "Too many streams are open.");
      if (byUser.of(subscription.userId).size >= MAX_STREAMS_OF_ONE_USER) {
        throw fail("TOO_MANY_REQUESTS", `At most ${MAX_STREAMS_OF_ONE_USER} streams at once.`);
      }
      const stream = streamTo(res, subscription);
      // Registered before the first read, so that no move in between is missed.
      const unregister = register(subscription, stream);
      res.once("close", unregister);
      try {
        await stream.start(headers);
      } catch (error) {
        stream.end();
        throw error;
      }
    },
    async sendHeaders(subscription, res, headers) {
      await subscription.history();
      send(res, 200, { ...headers, ...STREAM_HEADERS });
    },
    moved({ orderId, version }) {
      for (const stream of byOrder.of(orderId)) stream.moved(version);
    },
    position({ orderId, position, at }) {
      for (const stream of byOrder.of(orderId)) stream.position(position, at);
    },
    close() {
      for (const stream of all) stream.end();
    },
  };
}

function streamTo(
  res: ServerResponse,
  subscription: Subscription,
): Stream & { start(h: Record<string, string>): Promise<void> } {
  let lastSent = subscription.afterVersion;
  /** The newest version that an event has announced. */
  let announced = 0;
  let reading = false;
  let started = false;
  let ended = false;
  let heartbeat: NodeJS.Timeout | undefined;
  let retry: NodeJS.Timeout | undefined;

  const write = (text: string) => {
    if (!started || res.writableEnded) return;
    res.write(text);
    if (res.writableLength > MAX_UNREAD_BYTES) res.destroy();
  };
  const writeEvents = (events: HistoryEvents) => {
    for (const event of events.toSorted((a, b) => a.version - b.version)) {
      if (event.version <= lastSent) continue;
      write(`event: order\nid: ${event.version}\ndata: ${JSON.stringify(encodeEvent(event))}\n\n`);
      lastSent = event.version;
    }
  };
  const catchUp = async (attempt = 0): Promise<void> => {
    if (reading || !started) return;
    reading = true;
    try {
      writeEvents(await subscription.history());
    } catch (error) {
      if (STREAM_ENDING_ERRORS.includes(typeOf(error) ?? "")) return end();
    } finally {
      reading = false;
    }
    if (announced > lastSent && attempt < MAX_HISTORY_RETRIES && !res.destroyed) {
      retry = setTimeout(() => catchUp(attempt + 1), HISTORY_RETRY_DELAY_MS);
    }
  };
  const end = () => {
    clearInterval(heartbeat);
    clearTimeout(retry);
    if (started) res.end();
    ended = true;
  };

  return {
    async start(headers) {
      const events = await subscription.history();
      const newest = Math.max(0, ...events.map(({ version }) => version));
      // The client is ahead of the order, for example after a restore of the database: it gets all events.
      if (lastSent > newest && lastSent > (await subscription.version())) lastSent = 0;
      // After the client has disconnected, nothing would end the stream.
      if (res.destroyed) return;
      if (ended) throw fail("SERVICE_UNAVAILABLE", "This gateway is stopping.");
      res.writeHead(200, { ...headers, ...STREAM_HEADERS });
      started = true;
      res.once("close", end);
      write(`retry: ${RECONNECT_AFTER_MS}\n\n`);
      writeEvents(events);
      heartbeat = setInterval(() => {
        write(": still here\n\n");
        void catchUp();
      }, HEARTBEAT_INTERVAL_MS);
      if (announced > lastSent) void catchUp();
    },
    moved(version) {
      announced = Math.max(announced, version);
      if (announced > lastSent) void catchUp();
    },
    position({ latitude, longitude }, at) {
      write(`event: position\ndata: ${JSON.stringify({ latitude, longitude, at })}\n\n`);
    },
    end,
  };
}

const STREAM_ENDING_ERRORS = ["UNAUTHENTICATED", "SESSION_REVOKED", "FORBIDDEN", "NOT_FOUND"];

/** The version after which the stream resumes, from Last-Event-ID. 0 for a missing or invalid id. */
export function resumeVersion(lastEventId: string | undefined): number {
  return /^\d{1,10}$/.test(lastEventId ?? "") ? Number(lastEventId) : 0;
}

/** Reads an order with the rights of the user whose token is in `meta`. */
export function orderReader(ctx: Parameters<typeof call>[0], orderId: string, meta: object) {
  return {
    history: async () => {
      const { number, items } = await call(ctx, "orders.history", { orderId }, { meta });
      return number === undefined ? items : items.map((event) => ({ ...event, number }));
    },
    version: async () => (await call(ctx, "orders.get", { orderId }, { meta })).version,
  };
}
