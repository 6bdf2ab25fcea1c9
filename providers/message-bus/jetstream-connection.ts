import { connect, type NatsConnection, type NatsError } from "nats";
import { type Backoff, backoffMs } from "../../lib/backoff.ts";
import { MessageBusError } from "./error.ts";
import type { NatsOptions } from "./nats-options.ts";

const RETRY: Backoff = { firstMs: 200, factor: 2, maxMs: 2_000, jitter: 0.5 };
const PING_TIMEOUT_MS = 1_000;

/** A connection that comes back for as long as it takes. */
export interface JetStreamConnection {
  /** Resolves after the first attempt. @throws MessageBusError `denied` when the server does not know this user */
  readonly attempted: Promise<void>;
  /** The connection, while there is one. @throws MessageBusError that says what is wrong, at once */
  get(): NatsConnection;
  /** Whether the server answers now. */
  answers(): Promise<boolean>;
  /** `work`, or a rejection as soon as the connection is lost, since then no answer will come. */
  unlessLost<T>(work: Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/**
 * Connects, and connects again. The client reconnects by itself, but gives up for good when its first attempt
 * fails or the server refuses its user twice: then this begins anew.
 * @param onUp after each connect and reconnect
 * @param onDown when the connection is lost
 * @param report what an operator should know, in one line; the same line is said once
 */
export function startConnection(options: {
  nats: NatsOptions;
  onUp: (connection: NatsConnection) => void;
  onDown: () => void;
  report: (line: string) => void;
}): JetStreamConnection {
  const { nats, onUp, onDown, report } = options;
  const stopping = new AbortController();
  const attempted = Promise.withResolvers<void>();
  attempted.promise.catch(() => undefined); // who does not subscribe hears of it when it publishes
  /** Those who wait for an answer over this connection. */
  const waiting = new Set<(cause: MessageBusError) => void>();
  let client: NatsConnection | undefined;
  let connection: NatsConnection | undefined;
  let problem = new MessageBusError("unreachable", `NATS at ${nats.servers} has not answered yet`);

  const up = (found: NatsConnection) => {
    connection = found;
    onUp(found);
  };
  const down = (cause: MessageBusError) => {
    if (problem.message !== cause.message && cause.kind !== "closed") report(cause.message);
    problem = cause;
    if (!connection) return;
    connection = undefined;
    for (const reject of [...waiting]) reject(cause);
    onDown();
  };

  const live = async () => {
    for (let failures = 0; !stopping.signal.aborted; ) {
      try {
        client = await connect({ ...nats });
        if (stopping.signal.aborted) return await client.close();
        failures = 0;
        up(client);
        attempted.resolve();
        void follow(client); // the client never ends this iterator, not even when it is closed
        const error = await client.closed();
        if (!stopping.signal.aborted) down(explained(error ?? undefined, nats));
      } catch (error) {
        failures += 1;
        down(explained(error, nats));
        if (problem.kind === "denied") attempted.reject(problem);
        else attempted.resolve();
        await pause(backoffMs(RETRY, failures), stopping.signal);
      }
    }
  };
  const follow = async (found: NatsConnection) => {
    for await (const status of found.status()) {
      const { type, data, permissionContext } = status;
      if (type === "disconnect") down(new MessageBusError("unreachable", `NATS at ${nats.servers} is away`));
      else if (type === "reconnect") up(found);
      else if (type === "error") {
        const what = permissionContext && ` (${permissionContext.operation} ${permissionContext.subject})`;
        report(`NATS says ${data}${what ?? ""}`);
      }
    }
  };
  const unlessLost = <T>(work: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      // Not Promise.race with one long promise of loss: that would remember every race of the connection's life.
      waiting.add(reject);
      work.then(resolve, reject).finally(() => waiting.delete(reject));
      if (!connection) reject(problem);
    });

  const living = live();
  return {
    attempted: attempted.promise,
    get() {
      if (!connection) throw problem;
      return connection;
    },
    async answers() {
      if (!connection) return false;
      const answered = new AbortController();
      const flushed = unlessLost(connection.flush()).then(
        () => true,
        () => false,
      );
      const answer = await Promise.race([flushed, pause(PING_TIMEOUT_MS, answered.signal).then(() => false)]);
      answered.abort();
      return answer;
    },
    unlessLost,
    async close() {
      stopping.abort();
      // What was acknowledged last is still on its way.
      await this.answers();
      down(new MessageBusError("closed", "the message bus is closed"));
      attempted.resolve();
      await client?.close();
      await living;
    },
  };
}

function explained(error: unknown, nats: NatsOptions): MessageBusError {
  const { code, message } = (error ?? {}) as Partial<NatsError>;
  if (code === "AUTHORIZATION_VIOLATION" || code === "AUTHENTICATION_TIMEOUT") {
    const who = nats.user === undefined ? "a client without a user" : `the user ${nats.user}`;
    return new MessageBusError("denied", `NATS refuses ${who}: check NATS_USER and NATS_PASSWORD`);
  }
  return new MessageBusError(
    "unreachable",
    `NATS at ${nats.servers} does not answer: ${message ?? "closed"}`,
  );
}

/** Waits, or until the signal. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
  });
}
