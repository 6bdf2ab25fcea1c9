import type { ServerResponse } from "node:http";
import { alertAudience } from "../../../contracts/alerts.ts";
import { typeOf } from "../../../contracts/errors.ts";
import { type Caller, isOperator } from "../../../contracts/meta.ts";
import type { Rule } from "../../../contracts/schema.ts";
import { courierEvents, LOG_PAGE_MAX, type LogEntry, operatorEvents } from "../../../contracts/streams.ts";
import { keyedLimit } from "../../../lib/keyed-limit.ts";
import type { Logger } from "../../../lib/logger.ts";
import { SetsByKey } from "../../../lib/sets-by-key.ts";
import { send } from "../answers/answer.ts";
import { encoder } from "../pipeline/codec.ts";
import { courierEventOf } from "./courier-view.ts";
import { eventResponse, eventText, STREAM_ENDING_ERRORS, STREAM_HEADERS } from "./event-response.ts";
import { followLog, type LogFollower, type ReadLog } from "./log-follower.ts";
import type { StreamPlaces } from "./stream-places.ts";

/** How many reads for clients that catch up run at once for a partner, or for another user, and how long others wait. */
const CATCH_UP_READS = 2;
const CATCH_UP_WAIT_MS = 30_000;

export interface LogSubscription {
  readonly kind: "partner" | "courier" | "operator";
  readonly caller: Caller;
  /** With the kind `partner`: the partner whose orders the stream shows. */
  readonly partnerId?: string;
  /** The last entry that the client has received. Absent: it begins now. */
  readonly after?: number | undefined;
  /** Verifies the user's token and role again. @throws UNAUTHENTICATED, SESSION_REVOKED */
  readonly verify: () => Promise<unknown>;
}

/** The streams of partners, couriers and operators, all fed from one read of the event log of Orders. */
export interface LogStreams {
  /**
   * Answers with a stream of the entries after `after`, or of those from now on. It ends when the client disconnects, when
   * the user's session or role ends, and when the gateway stops.
   * @throws OVERLOADED, TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE
   */
  open(subscription: LogSubscription, res: ServerResponse, headers: Record<string, string>): Promise<void>;
  /** Answers a HEAD request with the headers of the stream. */
  sendHeaders(res: ServerResponse, headers: Record<string, string>): void;
  /** The log has new entries, the newest one at this place. */
  appended(position: number): void;
  /** How often a client had to read its list anew, because events after its last one were no longer stored. */
  gaps(): number;
  /** Stops the reading of the log, after the streams have ended. */
  close(): Promise<void>;
}

/** An entry with the texts of its events, each made once for all streams that show it. */
interface SharedEntry extends LogEntry {
  text?: string | undefined;
  poolText?: string | undefined;
}

interface Stream {
  readonly subscription: LogSubscription;
  added(entry: SharedEntry): void;
  lost(): void;
}

const encodersOf = <E extends Record<string, Rule>>(events: E) =>
  Object.fromEntries(Object.entries(events).map(([name, rule]) => [name, encoder(rule)])) as Record<
    keyof E & string,
    (value: unknown) => unknown
  >;
const encoders = { ...encodersOf(operatorEvents), ...encodersOf(courierEvents) };
type EventName = keyof typeof encoders;

function textOf(event: EventName, data: object, id: number): string {
  return eventText(event, JSON.stringify(encoders[event](data)), id);
}

export function logStreams(places: StreamPlaces, read: ReadLog, logger: () => Logger): LogStreams {
  const all = new Set<Stream>();
  const byPartner = new SetsByKey<string, Stream>();
  const others = new Set<Stream>();
  let follower: LogFollower | undefined;
  let gaps = 0;

  let stopped = Promise.resolve();
  const reads = keyedLimit({ atOnce: CATCH_UP_READS, waitMs: CATCH_UP_WAIT_MS });

  const unfollow = () => {
    const stopping = follower?.stop();
    follower = undefined;
    if (stopping) stopped = stopped.then(() => stopping);
  };
  const follow = () =>
    followLog(
      read,
      {
        added(entries) {
          for (const entry of entries) {
            const { move } = entry;
            if (move) for (const stream of byPartner.of(move.partnerId)) stream.added(entry);
            for (const stream of others) stream.added(entry);
          }
        },
        lost() {
          for (const stream of all) stream.lost();
        },
      },
      logger(),
    );
  /** The log is read only while there are streams. */
  const register = (stream: Stream, res: ServerResponse): LogFollower => {
    const { partnerId } = stream.subscription;
    all.add(stream);
    if (partnerId) byPartner.add(partnerId, stream);
    else others.add(stream);
    res.once("close", () => {
      all.delete(stream);
      others.delete(stream);
      if (partnerId) byPartner.delete(partnerId, stream);
      if (all.size === 0) unfollow();
    });
    follower ??= follow();
    return follower;
  };

  return {
    async open(subscription, res, headers) {
      // A closed response emits no further `close`, so the stream would stay registered forever.
      if (res.destroyed) return;
      const { kind, caller } = subscription;
      const readOwn: ReadLog = (params) => reads.run(params.partnerId ?? caller.id, () => read(params));
      const stream = streamTo(res, subscription, readOwn, {
        cut: () => places.cut(kind),
        gap: () => {
          gaps++;
        },
      });
      places.take({ kind, caller }, res, stream.end);
      try {
        await stream.start(register(stream, res), headers);
      } catch (error) {
        stream.end();
        throw error;
      }
    },
    sendHeaders(res, headers) {
      send(res, 200, { ...headers, ...STREAM_HEADERS });
    },
    appended(position) {
      if (follower && position !== follower.position()) follower.wake();
    },
    gaps: () => gaps,
    async close() {
      unfollow();
      await stopped;
    },
  };
}

function streamTo(
  res: ServerResponse,
  subscription: LogSubscription,
  read: ReadLog,
  on: { cut: () => void; gap: () => void },
) {
  const { partnerId, verify } = subscription;
  /** The last entry that the client has received or that is not for it. */
  let last = subscription.after ?? 0;
  /** It has got all entries that the follower has read, and gets the next ones from it. */
  let isLive = false;
  /** All entries up to here are read, though not all of them are for this client. */
  let skipTo = 0;
  let follower: LogFollower | undefined;

  const response = eventResponse(res, {
    onCut: on.cut,
    // With the newest place, a client to which nothing happened for long can resume there.
    heartbeat: () => (isLive && follower ? `id: ${follower.position()}\n` : ""),
    onHeartbeat: () => {
      verify().catch((error) => {
        if (STREAM_ENDING_ERRORS.includes(typeOf(error) ?? "")) response.end();
      });
    },
  });
  const write = (entry: SharedEntry) => {
    last = entry.id;
    const text = textFor(entry, subscription);
    if (text) response.write(text);
  };
  const reload = (reason: "opened" | "gap", position: number) => {
    last = position;
    response.write(textOf("reload", { reason }, position));
    if (reason === "gap") on.gap();
  };
  /** The next entries for a client that is behind: from memory, else from Orders. Undefined: some are no longer stored. */
  const next = async (log: LogFollower): Promise<readonly SharedEntry[] | undefined> => {
    const known = log.after(last, LOG_PAGE_MAX);
    if (known) return known;
    const page = await read({ after: last, limit: LOG_PAGE_MAX, ...(partnerId && { partnerId }) });
    if (!page.isKnown) return undefined;
    if (page.items.length < LOG_PAGE_MAX) skipTo = page.position;
    return page.items;
  };
  const catchUp = async (log: LogFollower) => {
    while (response.isOpen && !isLive) {
      const entries = await next(log);
      if (!entries) {
        reload("gap", log.position());
        continue;
      }
      for (const entry of entries) {
        write(entry);
        const waiting = response.drained();
        if (waiting) await waiting;
      }
      last = Math.max(last, skipTo);
      skipTo = 0;
      // From here to the next entry of the follower nothing is awaited, so no entry is missed.
      isLive = last >= log.position();
    }
  };

  return {
    subscription,
    async start(log: LogFollower, headers: Record<string, string>) {
      follower = log;
      await log.refreshed();
      if (!response.start(headers)) return;
      if (subscription.after === undefined) {
        reload("opened", log.position());
        isLive = true;
        return;
      }
      // The client resumes with a new connection.
      void catchUp(log).catch(() => response.end());
    },
    added(entry: SharedEntry) {
      if (!isLive || entry.id <= last) return;
      try {
        write(entry);
      } catch {
        // An event that cannot be written ends the streams that show it, and no other.
        response.end();
      }
    },
    lost() {
      if (isLive && follower) reload("gap", follower.position());
    },
    end: response.end,
  };
}

/** The event of an entry for this stream, if it shows it. */
function textFor(entry: SharedEntry, { kind, caller, partnerId }: LogSubscription): string | undefined {
  if (kind === "courier") return courierText(entry, caller.id);
  if (kind === "partner") return entry.move?.partnerId === partnerId ? sharedText(entry) : undefined;
  if (!isOperator(caller.role)) return undefined;
  if (entry.alert && !alertAudience(entry.alert.kind).includes(caller.role)) return undefined;
  // Only admins plan the work of couriers.
  if (entry.duty && caller.role !== "admin") return undefined;
  return sharedText(entry);
}

function sharedText(entry: SharedEntry): string | undefined {
  const { id, move, alert, duty } = entry;
  entry.text ??= move
    ? textOf("order", move, id)
    : alert
      ? textOf("alert", alert, id)
      : duty && textOf("courier", duty, id);
  return entry.text;
}

function courierText(entry: SharedEntry, courierId: string): string | undefined {
  const found = courierEventOf(entry, courierId);
  if (!found) return undefined;
  const { event, data } = found;
  if (event !== entry.pool) return textOf(event, data, entry.id);
  // The same for all couriers who see it.
  entry.poolText ??= textOf(event, data, entry.id);
  return entry.poolText;
}

/** The entry after which the stream resumes, from Last-Event-ID. Undefined for a missing or invalid id. */
export function resumePlace(lastEventId: string | undefined): number | undefined {
  return /^\d{1,16}$/.test(lastEventId ?? "") && Number.isSafeInteger(Number(lastEventId))
    ? Number(lastEventId)
    : undefined;
}
