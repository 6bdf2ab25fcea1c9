import { type ClientRequest, get, type IncomingMessage } from "node:http";

/** An event of a stream, without its data's details. */
export interface Seen {
  id: number;
  event: string;
  orderId?: string;
  version?: number;
}

/** A client of a stream that reconnects with Last-Event-ID, and records each event with an id. */
export interface StreamClient {
  readonly seen: readonly Seen[];
  /** How often it had to read its list anew. */
  readonly reloads: number;
  /** Why the server refused it last. */
  readonly refusal: number | undefined;
  /** Breaks the connection and connects again. @param url of another gateway */
  reconnect(url?: string): void;
  close(): void;
}

const RECONNECT_MS = 100;

/** @param url with the path of the stream */
export function streamClient(url: string, token: string): StreamClient {
  const seen: Seen[] = [];
  let at = url;
  let last: string | undefined;
  let reloads = 0;
  let refusal: number | undefined;
  let isClosed = false;
  let current: { request: ClientRequest; response?: IncomingMessage } | undefined;
  let retry: NodeJS.Timeout | undefined;

  const read = (block: string) => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
    const [event, id, data] = [field("event"), field("id"), field("data")];
    last = id ?? last;
    if (!event || !data) return;
    if (event === "reload") {
      reloads++;
      return;
    }
    const { order_id: orderId, version } = JSON.parse(data) as { order_id?: string; version?: number };
    seen.push({ id: Number(id), event, ...(orderId && { orderId }), ...(version && { version }) });
  };
  const connect = () => {
    const headers = { Authorization: `Bearer ${token}`, ...(last && { "Last-Event-ID": last }) };
    const mine: NonNullable<typeof current> = { request: get(at, { headers, agent: false }) };
    current = mine;
    const again = () => {
      if (isClosed || current !== mine) return;
      current = undefined;
      retry = setTimeout(connect, RECONNECT_MS);
    };
    mine.request.on("error", again).on("response", (response) => {
      mine.response = response;
      if (response.statusCode !== 200) {
        refusal = response.statusCode;
        response.resume().on("close", again);
        return;
      }
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        // What arrives on a connection that was given up does not count.
        if (current !== mine) return;
        const blocks = (text + chunk).split("\n\n");
        text = blocks.pop() as string;
        for (const block of blocks) read(block);
      });
      response.on("error", () => undefined).on("close", again);
    });
  };
  connect();
  const drop = () => {
    const { request } = current ?? {};
    current = undefined;
    clearTimeout(retry);
    request?.destroy();
  };
  return {
    seen,
    get reloads() {
      return reloads;
    },
    get refusal() {
      return refusal;
    },
    reconnect(url = at) {
      drop();
      at = url;
      connect();
    },
    close() {
      isClosed = true;
      drop();
    },
  };
}
