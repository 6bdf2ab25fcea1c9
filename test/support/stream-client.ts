import { type ClientRequest, get } from "node:http";

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
  /** How many connections it has made. */
  readonly connections: number;
  /** Breaks the connection and connects again, to the next gateway. */
  reconnect(): void;
  close(): void;
}

const RECONNECT_MS = 100;

/**
 * @param urls with the path of the stream, of each gateway: a client whose connection ended goes to the next one
 * @param tokenOf a fresh access token
 */
export function streamClient(urls: readonly string[], tokenOf: () => Promise<string>): StreamClient {
  const seen: Seen[] = [];
  let last: string | undefined;
  let reloads = 0;
  let refusal: number | undefined;
  let connections = 0;
  let isClosed = false;
  let current: { request?: ClientRequest } | undefined;
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
  const connect = async () => {
    const url = urls[connections++ % urls.length] as string;
    const mine: NonNullable<typeof current> = {};
    current = mine;
    const again = () => {
      if (isClosed || current !== mine) return;
      current = undefined;
      retry = setTimeout(connect, RECONNECT_MS);
    };
    const token = await tokenOf().catch(() => undefined);
    if (current !== mine) return;
    if (token === undefined) return again();
    const headers = { Authorization: `Bearer ${token}`, ...(last && { "Last-Event-ID": last }) };
    mine.request = get(url, { headers, agent: false });
    mine.request.on("error", again).on("response", (response) => {
      if (response.statusCode !== 200) {
        refusal = response.statusCode;
        response.resume().on("close", again);
        return;
      }
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        // Events of an abandoned connection do not count.
        if (current !== mine) return;
        const blocks = (text + chunk).split("\n\n");
        text = blocks.pop() as string;
        for (const block of blocks) read(block);
      });
      response.on("error", () => undefined).on("close", again);
    });
  };
  void connect();
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
    get connections() {
      return connections;
    },
    reconnect() {
      drop();
      void connect();
    },
    close() {
      isClosed = true;
      drop();
    },
  };
}
