import { hash, timingSafeEqual } from "node:crypto";
import type { Admission, ClientGate, RefusedCall } from "moleculer-grpc";
import { GRPC_CLIENTS_MAX, type GrpcClientKey, parseGrpcKey } from "../../contracts/grpc-clients.ts";
import { type Clock, isoTime } from "../../lib/clock.ts";
import { withTimeout } from "../../lib/timeout.ts";

/** The clients are read again after this time, so that a revocation whose broadcast was lost takes effect. */
const REFRESH_MS = 30_000;
/** The minimum time between two reads, for any number of calls with unknown keys. */
const REFRESH_INTERVAL_MS = 3_000;
/** A call of a known client waits for a read so long at most. */
const KNOWN_WAIT_MS = 500;
/** While Identity does not answer, the clients are known for so long. */
const MAX_AGE_MS = 300_000;
/** Of one client on one node: fewer than a service's connections to its database. */
const MAX_CALLS_AT_ONCE = 8;
const UNKNOWN = "unknown";
/** Compared with keys of unknown clients, so that timing does not reveal which ids exist. */
const DUMMY_HASH = digestOf("");

export interface ClientUse {
  id: string;
  at: string;
}

export interface ClientGateOptions {
  /** Reads all active clients, and reports when clients called last. */
  source: (used: ClientUse[]) => Promise<readonly GrpcClientKey[]>;
  clock: Clock;
}

export interface PlatformClientGate extends ClientGate {
  /** A client was created or revoked: its calls end, and the clients are read again. */
  changed(clientId: string): void;
  /** Since the start, by the name of the client. */
  admitted(): Record<string, number>;
  refused(): Record<string, number>;
  stop(): void;
}

interface KnownClient {
  key: GrpcClientKey;
  secretHash: Buffer;
  /** End the running calls when the client is revoked. */
  running: Set<() => void>;
  /** Calls that the client may make now. One is added every 1/callsPerSecond seconds. */
  budget: number;
  budgetAtMs: number;
  usedAtMs: number;
  reportedAtMs: number;
}

/** Verifies the keys of gRPC clients, their scopes and limits. Every node holds all active clients. */
export function platformClientGate({ source, clock }: ClientGateOptions): PlatformClientGate {
  const clients = new Map<string, KnownClient>();
  const counts = { admitted: new Map<string, number>(), refused: new Map<string, number>() };
  /** The number of changes that were broadcast. A read during which one came may be outdated. */
  let changes = 0;
  let changesRead = 0;
  let loadedAtMs = Number.NEGATIVE_INFINITY;
  let requestedAtMs = Number.NEGATIVE_INFINITY;
  let loading: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  async function load(): Promise<void> {
    for (;;) {
      requestedAtMs = clock.now();
      const [startedAt, startedMs] = [changes, requestedAtMs];
      const used = [...clients.values()].filter(isUnreported).slice(0, GRPC_CLIENTS_MAX);
      const times = used.map(({ usedAtMs }) => usedAtMs);
      const keys = await source(used.map(({ key, usedAtMs }) => ({ id: key.id, at: isoTime(usedAtMs) })));
      for (const [index, client] of used.entries()) client.reportedAtMs = times[index] as number;
      if (startedAt !== changes) continue;
      adopt(keys);
      changesRead = startedAt;
      loadedAtMs = startedMs;
      return;
    }
  }

  function adopt(keys: readonly GrpcClientKey[]): void {
    const present = new Set(keys.map(({ id }) => id));
    for (const id of clients.keys()) if (!present.has(id)) revoke(id);
    for (const key of keys) {
      const known = clients.get(key.id);
      if (known) known.key = key;
      else clients.set(key.id, newClient(key, clock.now()));
    }
  }

  function revoke(id: string): void {
    const client = clients.get(id);
    clients.delete(id);
    for (const end of client?.running ?? []) end();
  }

  /** One read at a time. After a failure the known clients remain. */
  function refresh(): Promise<void> {
    loading ??= load()
      .catch(() => undefined)
      .finally(() => {
        loading = undefined;
      });
    return loading;
  }

  /** While clients call, reports their calls, and ends the calls of those that are revoked or have expired. */
  function refreshLater(): void {
    if (isStopped) return;
    timer ??= setTimeout(async () => {
      await refresh();
      timer = undefined;
      const isInUse = (client: KnownClient) => client.running.size > 0 || isUnreported(client);
      if ([...clients.values()].some(isInUse)) refreshLater();
    }, REFRESH_MS).unref();
  }

  async function find(id: string): Promise<KnownClient | undefined> {
    const isOutdated = clock.now() - loadedAtMs > REFRESH_MS;
    const mayRead =
      loading !== undefined || changesRead !== changes || clock.now() - requestedAtMs >= REFRESH_INTERVAL_MS;
    if (!mayRead || (clients.has(id) && !isOutdated)) return clients.get(id);
    if (clients.has(id)) await withTimeout(KNOWN_WAIT_MS, refresh).catch(() => undefined);
    else await refresh();
    return clients.get(id);
  }

  function refuse(name: string, refused: RefusedCall["refused"], details: string): RefusedCall {
    increment(counts.refused, name);
    return { refused, details };
  }

  function admitKnown(client: KnownClient, path: string | undefined, onRevoked: () => void): Admission {
    const { name, methods, callsPerSecond } = client.key;
    client.usedAtMs = clock.now();
    refreshLater();
    if (!takeCall(client, clock.now()))
      return refuse(name, "exhausted", `The client may make ${callsPerSecond} calls a second.`);
    if (path !== undefined && !methods.includes(path.slice(1)))
      return refuse(name, "forbidden", `The client has no right to call ${path.slice(1)}.`);
    if (client.running.size >= MAX_CALLS_AT_ONCE)
      return refuse(name, "exhausted", `The client may make ${MAX_CALLS_AT_ONCE} calls at once.`);
    increment(counts.admitted, name);
    const running = () => onRevoked();
    client.running.add(running);
    return { client: `client/${name}`, end: () => void client.running.delete(running) };
  }

  return {
    async admit(key, path, onRevoked) {
      const given = key === undefined ? undefined : parseGrpcKey(key);
      const client = given && (await find(given.id));
      const isUnread = !client && changesRead !== changes;
      if (given && (isUnread || clock.now() - loadedAtMs > MAX_AGE_MS))
        return refuse(UNKNOWN, "unavailable", "Client keys cannot be verified now.");
      const isGenuine = timingSafeEqual(digestOf(given?.secret ?? ""), client?.secretHash ?? DUMMY_HASH);
      if (!client || !isGenuine || hasExpired(client.key, clock.now()))
        return refuse(client?.key.name ?? UNKNOWN, "unauthenticated", "No valid client key.");
      return admitKnown(client, path, onRevoked);
    },
    changed(clientId) {
      changes++;
      revoke(clientId);
      void refresh();
    },
    admitted: () => Object.fromEntries(counts.admitted),
    refused: () => Object.fromEntries(counts.refused),
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}

function newClient(key: GrpcClientKey, nowMs: number): KnownClient {
  return {
    key,
    secretHash: Buffer.from(key.secretHash, "base64url"),
    running: new Set(),
    budget: key.callsPerSecond,
    budgetAtMs: nowMs,
    usedAtMs: 0,
    reportedAtMs: 0,
  };
}

function isUnreported({ usedAtMs, reportedAtMs }: KnownClient): boolean {
  return usedAtMs > reportedAtMs;
}

function hasExpired({ expiresAt }: GrpcClientKey, nowMs: number): boolean {
  return expiresAt !== undefined && Date.parse(expiresAt) <= nowMs;
}

/** Takes one call from the budget of the client. @returns false when it is used up */
function takeCall(client: KnownClient, nowMs: number): boolean {
  const { callsPerSecond } = client.key;
  const gained = (Math.max(0, nowMs - client.budgetAtMs) / 1_000) * callsPerSecond;
  client.budget = Math.min(callsPerSecond, client.budget + gained);
  client.budgetAtMs = nowMs;
  if (client.budget < 1) return false;
  client.budget--;
  return true;
}

function digestOf(secret: string): Buffer {
  return hash("sha256", secret, "buffer");
}

/** Names of former clients are counted together when there are too many, because each is a series of a metric. */
function increment(counts: Map<string, number>, name: string): void {
  const counted = counts.has(name) || counts.size < GRPC_CLIENTS_MAX ? name : "others";
  counts.set(counted, (counts.get(counted) ?? 0) + 1);
}
