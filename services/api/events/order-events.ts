import type { ServerResponse } from "node:http";
import { call } from "../../../contracts/actions.ts";
import { typeOf } from "../../../contracts/errors.ts";
import type { LiveData } from "../../../contracts/live.ts";
import { orderEvent } from "../../../contracts/orders.ts";
import type { Infer } from "../../../contracts/schema.ts";
import type { Position } from "../../../contracts/shared.ts";
import { SetsByKey } from "../../../lib/sets-by-key.ts";
import { send } from "../answers/answer.ts";
import { encoder } from "../pipeline/codec.ts";
import { eventResponse, eventText, STREAM_ENDING_ERRORS, STREAM_HEADERS } from "./event-response.ts";
import type { PlaceHolder, StreamPlaces } from "./stream-places.ts";

/** The history may be slightly behind the event. */
const HISTORY_RETRY_DELAY_MS = 150;
const MAX_HISTORY_RETRIES = 20;
type HistoryEvents = Infer<typeof orderEvent>[];

export interface Subscription {
  orderId: string;
  caller: PlaceHolder["caller"];
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
}

interface Stream {
  moved(version: number): void;
  position(position: Position, at: string): void;
  end(): void;
}

const encodeEvent = encoder(orderEvent);

export function orderStreams(places: StreamPlaces): OrderStreams {
  const byOrder = new SetsByKey<string, Stream>();

  return {
    async open(subscription, res, headers) {
      // A closed response emits no further `close`, so the stream would stay registered forever.
      if (res.destroyed) return;
      const { orderId, caller } = subscription;
      const stream = streamTo(res, subscription, () => places.cut("order"));
      places.take({ kind: "order", caller }, res, stream.end);
      // Registered before the first read, so that no move in between is missed.
      byOrder.add(orderId, stream);
      res.once("close", () => byOrder.delete(orderId, stream));
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
  };
}

function streamTo(
  res: ServerResponse,
  subscription: Subscription,
  onCut: () => void,
): Stream & { start(h: Record<string, string>): Promise<void> } {
  /** The client has all versions up to here. */
  let after = subscription.afterVersion;
  /** The newest version that the client has; it is the id of the events, so that a resume repeats none. */
  let newestSent = after;
  /** Messages may be stored in another order than they happened, so an older move can appear in the history later. */
  const sent = new Set<number>();
  /** Versions that an event has announced and the history has not shown yet. */
  const announced = new Set<number>();
  let reading = false;
  let retry: NodeJS.Timeout | undefined;
  const response = eventResponse(res, { onHeartbeat: () => void catchUp(), onCut });

  const isMissing = (version: number) => version > after && !sent.has(version);
  const writeEvents = (events: HistoryEvents) => {
    for (const event of events.toSorted((a, b) => a.version - b.version)) {
      announced.delete(event.version);
      if (!isMissing(event.version)) continue;
      newestSent = Math.max(newestSent, event.version);
      response.write(eventText("order", JSON.stringify(encodeEvent(event)), newestSent));
      sent.add(event.version);
    }
  };
  const catchUp = async (attempt = 0): Promise<void> => {
    if (reading || !response.isOpen) return;
    reading = true;
    try {
      writeEvents(await subscription.history());
    } catch (error) {
      if (STREAM_ENDING_ERRORS.includes(typeOf(error) ?? "")) return end();
    } finally {
      reading = false;
    }
    if (attempt === MAX_HISTORY_RETRIES) announced.clear();
    if (announced.size > 0 && response.isOpen) {
      clearTimeout(retry);
      retry = setTimeout(() => catchUp(attempt + 1), HISTORY_RETRY_DELAY_MS);
    }
  };
  const end = () => {
    clearTimeout(retry);
    response.end();
  };

  return {
    async start(headers) {
      const events = await subscription.history();
      const newest = Math.max(0, ...events.map(({ version }) => version));
      // The client is ahead of the order, for example after a restore of the database: it gets all events.
      if (after > newest && after > (await subscription.version())) newestSent = after = 0;
      if (!response.start(headers)) return;
      res.once("close", end);
      writeEvents(events);
      if (announced.size > 0) void catchUp();
    },
    moved(version) {
      if (!isMissing(version)) return;
      announced.add(version);
      void catchUp();
    },
    position({ latitude, longitude }, at) {
      response.write(eventText("position", JSON.stringify({ latitude, longitude, at })));
    },
    end,
  };
}

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
