import type { ServerResponse } from "node:http";
import { call, type Result } from "../../../contracts/actions.ts";
import { fail, typeOf } from "../../../contracts/errors.ts";
import type { LiveData } from "../../../contracts/live.ts";
import { historyEvent } from "../../../contracts/orders.ts";
import type { Position } from "../../../contracts/shared.ts";
import { encoder } from "../case-mapping.ts";
import { send } from "../edge/request-context.ts";

const MAX_STREAMS = 2_000;
const MAX_STREAMS_OF_ONE_USER = 10;
/** Keeps proxies from closing the stream, and finds what a lost event should have told. */
const BEAT_INTERVAL_MS = 15_000;
const RECONNECT_AFTER_MS = 2_000;
/** The history may be a moment behind the event that announced it. */
const AGAIN_AFTER_MS = 150;
const MAX_AGAIN = 20;
/** A client that does not read what it asked for is cut off. */
const MAX_UNREAD_BYTES = 256 * 1024;
const STREAM_HEADERS = {
  "Content-Type": "text/event-stream; charset=utf-8",
  "Cache-Control": "no-store",
  "X-Accel-Buffering": "no",
};

type HistoryEvents = Result<"orders.history">["items"];

export interface Watcher {
  orderId: string;
  userId: string;
  /** The last version that the client has seen. */
  afterVersion: number;
  /** Reads the order's history as the watcher may see it. */
  history: () => Promise<HistoryEvents>;
  /** The order's version now, which the history may be a moment behind. */
  version: () => Promise<number>;
}

export interface OrderStreams {
  /**
   * Answers with a stream that tells what happened after `afterVersion`, then what happens. It ends with the
   * client, with the watcher's right to see the order, and with the gateway.
   * @throws what `history` throws, TOO_MANY_REQUESTS
   */
  open(watcher: Watcher, res: ServerResponse, headers: Record<string, string>): Promise<void>;
  /**
   * Answers with the headers of such a stream, to whoever may have it. Nothing follows and no place is taken.
   * @throws what `history` throws
   */
  describe(watcher: Watcher, res: ServerResponse, headers: Record<string, string>): Promise<void>;
  moved(event: LiveData<"order.moved">): void;
  position(event: LiveData<"order.position">): void;
  /** Ends every stream; their clients connect again elsewhere and go on where they were. */
  close(): void;
}

interface Stream {
  moved(version: number): void;
  position(position: Position, at: string): void;
  end(): void;
}

const encodeEvent = encoder(historyEvent);

export function orderStreams(): OrderStreams {
  const byOrder = new Map<string, Set<Stream>>();
  const ofUser = new Map<string, number>();
  let open = 0;

  const enter = ({ orderId, userId }: Watcher, stream: Stream) => {
    open += 1;
    ofUser.set(userId, (ofUser.get(userId) ?? 0) + 1);
    const streams = byOrder.get(orderId) ?? new Set();
    byOrder.set(orderId, streams.add(stream));
    return () => {
      open -= 1;
      const left = (ofUser.get(userId) ?? 1) - 1;
      if (left > 0) ofUser.set(userId, left);
      else ofUser.delete(userId);
      streams.delete(stream);
      if (streams.size === 0) byOrder.delete(orderId);
    };
  };

  return {
    async open(watcher, res, headers) {
      // A client that is gone already is not told to go again: its place would be kept for good.
      if (res.destroyed) return;
      if (open >= MAX_STREAMS) throw fail("OVERLOADED", "Too many streams are open.");
      if ((ofUser.get(watcher.userId) ?? 0) >= MAX_STREAMS_OF_ONE_USER) {
        throw fail("TOO_MANY_REQUESTS", `At most ${MAX_STREAMS_OF_ONE_USER} streams at once.`);
      }
      const stream = streamTo(res, watcher);
      // Registered before the first read, so that nothing can happen between the two unseen.
      const leave = enter(watcher, stream);
      res.once("close", leave);
      try {
        await stream.begin(headers);
      } catch (error) {
        // Whoever went away meanwhile has left by that, and once only.
        if (!res.destroyed) {
          res.off("close", leave);
          leave();
        }
        stream.end();
        throw error;
      }
    },
    async describe(watcher, res, headers) {
      await watcher.history();
      send(res, 200, { ...headers, ...STREAM_HEADERS });
    },
    moved({ orderId, version }) {
      for (const stream of byOrder.get(orderId) ?? []) stream.moved(version);
    },
    position({ orderId, position, at }) {
      for (const stream of byOrder.get(orderId) ?? []) stream.position(position, at);
    },
    close() {
      for (const streams of byOrder.values()) for (const stream of streams) stream.end();
    },
  };
}

function streamTo(
  res: ServerResponse,
  watcher: Watcher,
): Stream & { begin(h: Record<string, string>): Promise<void> } {
  let seen = watcher.afterVersion;
  /** The newest version that an event has announced. */
  let announced = 0;
  let reading = false;
  let begun = false;
  let beat: NodeJS.Timeout | undefined;
  let again: NodeJS.Timeout | undefined;

  const write = (text: string) => {
    if (!begun || res.writableEnded || res.destroyed) return;
    res.write(text);
    if (res.writableLength > MAX_UNREAD_BYTES) res.destroy();
  };
  const tell = (events: HistoryEvents) => {
    for (const event of events.toSorted((a, b) => a.version - b.version)) {
      if (event.version <= seen) continue;
      write(`event: order\nid: ${event.version}\ndata: ${JSON.stringify(encodeEvent(event))}\n\n`);
      seen = event.version;
    }
  };
  const catchUp = async (attempt = 0): Promise<void> => {
    if (reading || !begun) return;
    reading = true;
    try {
      tell(await watcher.history());
    } catch (error) {
      if (ENDS_THE_STREAM.includes(typeOf(error) ?? "")) return end();
    } finally {
      reading = false;
    }
    if (announced > seen && attempt < MAX_AGAIN && !res.destroyed) {
      again = setTimeout(() => catchUp(attempt + 1), AGAIN_AFTER_MS);
    }
  };
  const end = () => {
    clearInterval(beat);
    clearTimeout(again);
    if (begun && !res.writableEnded) res.end();
  };

  return {
    async begin(headers) {
      const events = await watcher.history();
      const newest = Math.max(0, ...events.map(({ version }) => version));
      // The client has seen what is no longer there, as before a restore: it is told all that there is.
      if (seen > newest && seen > (await watcher.version())) seen = 0;
      // Nothing would ever end what begins for a client that went away meanwhile.
      if (res.destroyed) return;
      res.writeHead(200, { ...headers, ...STREAM_HEADERS });
      begun = true;
      res.once("close", end);
      write(`retry: ${RECONNECT_AFTER_MS}\n\n`);
      tell(events);
      beat = setInterval(() => {
        write(": still here\n\n");
        void catchUp();
      }, BEAT_INTERVAL_MS);
      if (announced > seen) void catchUp();
    },
    moved(version) {
      announced = Math.max(announced, version);
      if (announced > seen) void catchUp();
    },
    position({ latitude, longitude }, at) {
      write(`event: position\ndata: ${JSON.stringify({ latitude, longitude, at })}\n\n`);
    },
    end,
  };
}

const ENDS_THE_STREAM = ["UNAUTHENTICATED", "SESSION_REVOKED", "FORBIDDEN", "NOT_FOUND"];

/** The version after which a client goes on: the id of the last event that it has seen. */
export function afterVersion(lastEventId: string | undefined): number {
  return /^\d{1,10}$/.test(lastEventId ?? "") ? Number(lastEventId) : 0;
}

/** Reads an order with the right of the user that the context's token belongs to. */
export function orderReader(ctx: Parameters<typeof call>[0], orderId: string, meta: object) {
  return {
    history: async () => (await call(ctx, "orders.history", { orderId }, { meta })).items,
    version: async () => (await call(ctx, "orders.get", { orderId }, { meta })).version,
  };
}
