import { setTimeout as delay } from "node:timers/promises";
import { type AnswerChecker, answerChecker, type OpenApi } from "../support/answers.ts";
import { platform, type TestPlatform } from "../support/platform.ts";

const CLUSTER_TRIES = 5;

export interface Sending {
  token?: string;
  body?: unknown;
  /** The bytes of an image. */
  image?: Buffer;
  key?: string;
  headers?: Record<string, string>;
}

export interface Reply<T> {
  status: number;
  headers: Headers;
  body: T;
  /** The body as it came. */
  bytes: Buffer;
}

/**
 * A client of the public API that believes nothing: every answer is held against the OpenAPI document that the
 * platform serves, so a status or a field that is not declared fails the test that met it.
 */
export interface Client extends TestPlatform {
  /** The OpenAPI document that the platform serves. */
  readonly document: OpenApi;
  /** Operations that have answered 2xx so far, as the document calls them. */
  readonly reached: ReadonlySet<string>;
  /** @param operation `"POST /orders/check"`: the method, and the path below /api/v1 with its query */
  request<T = unknown>(operation: string, sending?: Sending): Promise<Reply<T>>;
  /** The body of a success. @throws Error with the problem document for anything else */
  ok<T = unknown>(operation: string, sending?: Sending): Promise<T>;
  /** Follows a stream of server-sent events until the test ends it. */
  follow(operation: string, sending?: Sending): Promise<Stream>;
  /** The code of a refusal with its status. @throws Error for a success */
  refused(operation: string, sending?: Sending): Promise<{ status: number; code: string }>;
}

export interface Stream {
  readonly events: readonly { event: string; id?: number; data: Record<string, unknown> }[];
  /** Whether the server ended it, or its connection broke. */
  readonly ended: boolean;
  end(): void;
}

/** @param platformOf the platform to talk to; the one that the whole run shares unless the test has its own */
export async function connect(platformOf: () => Promise<TestPlatform> = platform): Promise<Client> {
  const there = await platformOf();
  const document = (await (await fetch(`${there.url}/openapi.json`)).json()) as OpenApi;
  const checker: AnswerChecker = answerChecker(document);
  const reached = new Set<string>();
  // A change at one gateway must be visible at the next.
  const gateways = [there.url, ...there.alsoAt];
  let turn = 0;
  // Eight processes, their servers and the tests share the machine; one process alone has to keep its time.
  const tryCount = gateways.length > 1 ? CLUSTER_TRIES : 1;
  const gateway = () => gateways[turn++ % gateways.length];

  async function request<T>(operation: string, sending: Sending = {}): Promise<Reply<T>> {
    const [method = "", target = ""] = operation.split(" ");
    const { token, body, image, key, headers } = sending;
    const sent =
      image ?? (typeof body === "string" ? body : body === undefined ? undefined : JSON.stringify(body));
    const response = await fetch(`${gateway()}/api/v1${target}`, {
      method,
      headers: {
        ...(sent !== undefined && { "Content-Type": image ? "image/png" : "application/json" }),
        ...(token && { Authorization: `Bearer ${token}` }),
        ...(key && { "Idempotency-Key": key }),
        ...headers,
      },
      ...(sent !== undefined && { body: sent }),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const type = response.headers.get("content-type") ?? undefined;
    const parsed = type && /json/.test(type) ? JSON.parse(bytes.toString("utf8")) : undefined;
    const { status } = response;
    const path = target.split("?")[0] as string;
    const name = checker.check({ method, path, status, type, body: parsed });
    if (response.ok) reached.add(name);
    return { status, headers: response.headers, body: parsed as T, bytes };
  }

  async function follow(operation: string, { token, headers }: Sending = {}): Promise<Stream> {
    const [method = "", path = ""] = operation.split(" ");
    const ending = new AbortController();
    const response = await fetch(`${gateway()}/api/v1${path}`, {
      method,
      headers: { ...(token && { Authorization: `Bearer ${token}` }), ...headers },
      signal: ending.signal,
    });
    const type = response.headers.get("content-type") ?? undefined;
    reached.add(checker.check({ method, path, status: response.status, type }));
    const stream = { events: [] as Stream["events"][number][], ended: false, end: () => ending.abort() };
    void collect(response, stream.events)
      .catch(() => undefined)
      .finally(() => {
        stream.ended = true;
      });
    return stream;
  }

  /** As the API documents it: a request that was answered busy is repeated, if a repeat has no second effect. */
  async function patiently<T>(operation: string, sending?: Sending): Promise<Reply<T>> {
    const repeatable = sending?.key !== undefined || /^(?!POST )|^POST \/(sessions|users)$/.test(operation);
    for (let tries = 1; ; tries += 1) {
      const reply = await request<T>(operation, sending);
      // An unanswered attempt may have deleted the resource, so the next one does not find it.
      if (tries > 1 && reply.status === 404 && operation.startsWith("DELETE "))
        return { ...reply, status: 204 };
      if (reply.status !== 503 || !repeatable || tries === tryCount) return reply;
      await delay(Number(reply.headers.get("retry-after") ?? 1) * 1_000);
    }
  }

  return {
    ...there,
    document,
    reached,
    request,
    follow,
    async ok<T>(operation: string, sending?: Sending) {
      const { status, body } = await patiently<T>(operation, sending);
      if (status >= 300) throw new Error(`${operation} answered ${status}: ${JSON.stringify(body)}`);
      return body;
    },
    async refused(operation, sending) {
      const { status, body } = await request<{ code: string }>(operation, sending);
      if (status < 400) throw new Error(`${operation} answered ${status}: ${JSON.stringify(body)}`);
      return { status, code: body.code };
    },
  };
}

async function collect(response: Response, events: Stream["events"][number][]): Promise<void> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop() as string;
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
      const [event, id, data] = [field("event"), field("id"), field("data")];
      if (event && data) events.push({ event, data: JSON.parse(data), ...(id && { id: Number(id) }) });
    }
  }
}
