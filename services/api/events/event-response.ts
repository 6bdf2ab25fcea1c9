import type { ServerResponse } from "node:http";
import { fail } from "../../../contracts/errors.ts";
import { withTimeout } from "../../../lib/timeout.ts";

/** Prevents proxies from closing the stream, and finds events whose broadcast was lost. */
const HEARTBEAT_INTERVAL_MS = 15_000;
const RECONNECT_AFTER_MS = 2_000;
/** A client that does not read its stream is disconnected. */
const MAX_UNREAD_BYTES = 256 * 1024;
/** While a client catches up, it gets further events only after it has read those before. */
const CATCH_UP_UNREAD_BYTES = 64 * 1024;
const DRAIN_TIMEOUT_MS = 30_000;
export const STREAM_HEADERS = {
  "Content-Type": "text/event-stream; charset=utf-8",
  "Cache-Control": "no-store",
  "X-Accel-Buffering": "no",
};

/** Errors after which the user may no longer see the stream. */
export const STREAM_ENDING_ERRORS: readonly string[] = [
  ...["UNAUTHENTICATED", "SESSION_REVOKED", "FORBIDDEN", "NOT_FOUND"],
];

/** The response of one stream of server-sent events. */
export interface EventResponse {
  /**
   * Sends the head. @returns false if the client has disconnected
   * @throws SERVICE_UNAVAILABLE if the stream was ended before
   */
  start(headers: Record<string, string>): boolean;
  readonly isOpen: boolean;
  /** Writes events. Before the start and after the end they are dropped. */
  write(text: string): void;
  /**
   * While a client catches up, to be awaited after each event: resolves when the client has read its events. A client that
   * does not is disconnected. Undefined if there is nothing to wait for.
   */
  drained(): Promise<void> | undefined;
  end(): void;
}

export interface EventResponseOptions {
  /** Called with each heartbeat. */
  onHeartbeat(): void;
  /** Text of each heartbeat beside its comment. */
  heartbeat?(): string;
  /** Called when a client is disconnected because it does not read. */
  onCut?(): void;
}

export function eventResponse(res: ServerResponse, options: EventResponseOptions): EventResponse {
  let started = false;
  let ended = false;
  let timer: NodeJS.Timeout | undefined;

  const isOpen = () => started && !ended && !res.destroyed;
  const cut = () => {
    options.onCut?.();
    res.destroy();
  };
  const write = (text: string) => {
    if (!isOpen() || res.writableEnded) return;
    res.write(text);
    if (res.writableLength > MAX_UNREAD_BYTES) cut();
  };
  const untilDrained = async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    res.once("drain", resolve).once("close", resolve);
    await withTimeout(DRAIN_TIMEOUT_MS, () => promise).catch(cut);
    res.off("drain", resolve).off("close", resolve);
  };
  const end = () => {
    clearInterval(timer);
    if (started && !ended) res.end();
    ended = true;
  };

  return {
    get isOpen() {
      return isOpen();
    },
    start(headers) {
      // After the client has disconnected, nothing would end the stream.
      if (res.destroyed) return false;
      if (ended) throw fail("SERVICE_UNAVAILABLE", "This gateway is stopping.");
      res.writeHead(200, { ...headers, ...STREAM_HEADERS });
      started = true;
      res.once("close", end);
      write(`retry: ${RECONNECT_AFTER_MS}\n\n`);
      timer = setInterval(() => {
        write(`: still here\n${options.heartbeat?.() ?? ""}\n`);
        options.onHeartbeat();
      }, HEARTBEAT_INTERVAL_MS);
      return true;
    },
    write,
    drained() {
      return isOpen() && res.writableLength > CATCH_UP_UNREAD_BYTES ? untilDrained() : undefined;
    },
    end,
  };
}

/** One event, as the HTML Living Standard says. @param data JSON on one line */
export function eventText(event: string, data: string, id?: number): string {
  return `event: ${event}\n${id === undefined ? "" : `id: ${id}\n`}data: ${data}\n\n`;
}
