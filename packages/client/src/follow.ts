import { delay, reasonOf } from "./abort.ts";
import type { components } from "./api.ts";
import { ApiError } from "./error.ts";

type Schemas = components["schemas"];

/** An event of a followed order. Its `id` as `lastEventId` continues the stream after it. */
export type OrderEvent =
  | { type: "order"; id: string; data: Schemas["OrderEvent"] }
  | { type: "position"; id: string | undefined; data: Schemas["OrderPosition"] };

/** Comes first in a stream of many orders, and after a gap: read the list now; the events after it change that list. */
type Reload = { type: "reload"; id: string; data: Schemas["StreamReload"] };

/** An event of a partner's orders. */
export type PartnerEvent = { type: "order"; id: string; data: Schemas["OrderMove"] } | Reload;

/** An event of the pool as a courier sees it: the present place of one order. */
export type CourierEvent =
  | { type: "appeared"; id: string; data: Schemas["PoolMove"] }
  | { type: "offered"; id: string; data: Schemas["OfferMove"] }
  | { type: "mine"; id: string; data: Schemas["OrderMove"] }
  | { type: "vanished"; id: string; data: Schemas["VanishedOrder"] }
  | Reload;

/** An event of the whole platform, for operators. */
export type OperatorEvent =
  | { type: "order"; id: string; data: Schemas["OrderMove"] }
  | { type: "alert"; id: string; data: Schemas["AlertEvent"] }
  | { type: "courier"; id: string; data: Schemas["DutyEvent"] }
  | Reload;

export interface FollowOptions {
  /** The id of the last event that was seen. Without it the stream of an order begins with all past events, others now. */
  lastEventId?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Opens the stream behind the event of this id. */
export type OpenStream = (
  lastEventId: string | undefined,
  signal: AbortSignal | undefined,
) => Promise<ReadableStream<Uint8Array>>;

const RECONNECT_MS = 2_000;
const RECONNECT_MAX_MS = 30_000;
const TRANSIENT = [0, 408, 429, 502, 503, 504];
const ENDS: readonly string[] = ["delivered", "cancelled", "expired"];

/** Reads a stream, and after it the next one, until the order has ended. */
export async function* followed(open: OpenStream, options: FollowOptions): AsyncGenerator<OrderEvent, void> {
  for await (const event of followedStream<OrderEvent>(open, ["order", "position"], options)) {
    yield event;
    if (event.type === "order" && ENDS.includes(event.data.to)) return;
  }
}

/**
 * Reads a stream, and after it the next one behind the last event, without end.
 * @param types the events that this version of the client knows; others are skipped
 */
export async function* followedStream<E extends { type: string }>(
  open: OpenStream,
  types: readonly E["type"][],
  { lastEventId, signal }: FollowOptions,
): AsyncGenerator<E, void> {
  let last = lastEventId;
  for (let failures = 0; ; failures++) {
    try {
      for await (const { event, id, data } of eventsOf(await open(last, signal))) {
        failures = 0;
        last = id ?? last;
        if (data === undefined || !types.includes(event)) continue;
        yield { type: event, id: last, data: JSON.parse(data) } as unknown as E;
      }
    } catch (error) {
      // A browser's error for an aborted body does not hold the reason.
      if (signal?.aborted) throw reasonOf(signal);
      if (error instanceof ApiError && !TRANSIENT.includes(error.status)) throw error;
    }
    await delay(Math.min(RECONNECT_MS * 2 ** failures, RECONNECT_MAX_MS), signal);
  }
}

interface ServerSentEvent {
  event: string;
  id: string | undefined;
  /** Undefined for an id alone, which says how far the stream has come. */
  data: string | undefined;
}

/** The events of a stream, parsed as the HTML Living Standard says. */
async function* eventsOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent, void> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      // A carriage return at the end may be half of a line break.
      text = (text + decoder.decode(value, { stream: true })).replace(/\r\n|\r(?!$)/g, "\n");
      const blocks = text.split("\n\n");
      text = blocks.pop() as string;
      for (const block of blocks) {
        const event = eventIn(block);
        if (event) yield event;
      }
    }
  } finally {
    // A consumer that leaves the loop early ends here too: the connection is closed.
    await reader.cancel().catch(() => undefined);
  }
}

function eventIn(block: string): ServerSentEvent | undefined {
  const fields = block.split("\n").map((line) => /^([^:]+)(?:: ?(.*))?$/s.exec(line) ?? []);
  const valuesOf = (wanted: string) =>
    fields.filter(([, name]) => name === wanted).map(([, , value = ""]) => value);
  const data = valuesOf("data");
  const id = valuesOf("id").at(-1);
  if (data.length === 0) return id === undefined ? undefined : { event: "", id, data: undefined };
  return { event: valuesOf("event").at(-1) ?? "message", id, data: data.join("\n") };
}
