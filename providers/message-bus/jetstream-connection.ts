import { connect, type NatsConnection, type NatsError } from "nats";
import { type Backoff, backoffMs } from "../../lib/backoff.ts";
import { withTimeout } from "../../lib/timeout.ts";
import { MessageBusError } from "./error.ts";
import type { NatsOptions } from "./nats-options.ts";

const RETRY: Backoff = { firstMs: 200, factor: 2, maxMs: 2_000, jitter: 0.5 };
const PING_TIMEOUT_MS = 1_000;

/** A connection that is opened again without end after each loss. */
export interface JetStreamConnection {
  /** Resolves after the first attempt. @throws MessageBusError `denied` when the server refuses this user */
  readonly attempted: Promise<void>;
  /** @throws MessageBusError with the cause when there is no connection; it does not wait for one */
  get(): NatsConnection;
  /** Whether the server answers now. */
  answers(): Promise<boolean>;
  /** Settles as `work` does, but rejects as soon as the connection is lost: no answer comes after that. */
  unlessLost<T>(work: Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/**
 * Connects and reconnects. The NATS client reconnects by itself, but stops when its first attempt fails or the server
 * refuses its user twice; this function then opens a new client.
 * @param onUp called after each connect and reconnect
 * @param onDown called when the connection is lost
 * @param report receives one line for the operator; a repeated line is not reported again
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
  attempted.promise.catch(() => undefined); // a process that only publishes gets the error from publish
  /** Rejects the work that waits for an answer over this connection. */
  const pendingRejects = new Set<(cause: MessageBusError) => void>();
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
    for (const reject of [...pendingRejects]) reject(cause);
    onDown();
  };

  const keepConnected = async () => {
    for (let failures = 0; !stopping.signal.aborted; ) {
      try {
        client = await connect({ ...nats });
        if (stopping.signal.aborted) return await client.close();
        failures = 0;
        up(client);
        attempted.resolve();
        void followStatus(client); // not awaited: the client never ends this iterator, not even when it is closed
        const error = await client.closed();
        if (!stopping.signal.aborted) down(connectionError(error ?? undefined, nats));
      } catch (error) {
        failures += 1;
        down(connectionError(error, nats));
        if (problem.kind === "denied") attempted.reject(problem);
        else attempted.resolve();
        await pause(backoffMs(RETRY, failures), stopping.signal);
      }
    }
  };
  const followStatus = async (found: NatsConnection) => {
    for await (const status of found.status()) {
      const { type, data, permissionContext } = status;
      if (type === "disconnect")
        down(new MessageBusError("unreachable", `NATS at ${nats.servers} is disconnected`));
      else if (type === "reconnect") up(found);
      else if (type === "error") {
        const what = permissionContext && ` (${permissionContext.operation} ${permissionContext.subject})`;
        report(`NATS reports ${data}${what ?? ""}`);
      }
    }
  };
  const unlessLost = <T>(work: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      // Promise.race with one promise of the loss would retain every race as long as the connection lasts.
      pendingRejects.add(reject);
      work.then(resolve, reject).finally(() => pendingRejects.delete(reject));
      if (!connection) reject(problem);
    });

  const connecting = keepConnected();
  return {
    attempted: attempted.promise,
    get() {
      if (!connection) throw problem;
      return connection;
    },
    async answers() {
      if (!connection) return false;
      const flushed = unlessLost(connection.flush());
      return await withTimeout(PING_TIMEOUT_MS, () => flushed).then(
        () => true,
        () => false,
      );
    },
    unlessLost,
    async close() {
      stopping.abort();
      await this.answers(); // flushes the last acknowledgements
      down(new MessageBusError("closed", "the message bus is closed"));
      attempted.resolve();
      await client?.close();
      await connecting;
    },
  };
}

function connectionError(error: unknown, nats: NatsOptions): MessageBusError {
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

/** Resolves after `ms`, or earlier when the signal aborts. */
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
