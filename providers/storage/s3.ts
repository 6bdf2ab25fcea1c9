import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Readable } from "node:stream";
import type { Client, ClientOptions } from "minio";
import { withTimeout } from "../../lib/timeout.ts";
import { requireKey, requirePrefix, type Storage, StorageError } from "./port.ts";

/** For one request, from the connection to the last byte. */
const REQUEST_TIMEOUT_MS = 1_200;
/** For one operation with all its requests. The library does not always report the end of a request. */
const OPERATION_TIMEOUT_MS = 1_300;
/** An operation that fails sooner is repeated once. Both attempts fit into the time limit of a REST request. */
const RETRY_WITHIN_MS = 250;
/** After so long with failures only, operations fail at once for the same time, so that callers do not wait. */
const COOLDOWN_MS = 1_000;
const CONNECTIONS_MAX = 16;
/** Larger than every object that we store. */
const OBJECT_MAX_BYTES = 16 * 1_048_576;
/** Shared caches may not store the objects; private caches must revalidate them. */
const CACHE_CONTROL = "private, no-cache";
/** An object that never exists: the answer shows whether the bucket and the keys are right. */
const PROBE_KEY = "waybill-probe";

export interface S3Settings {
  readonly S3_ENDPOINT: string;
  readonly S3_REGION: string;
  readonly S3_BUCKET: string;
  readonly S3_ACCESS_KEY?: string | undefined;
  readonly S3_SECRET_KEY?: string | undefined;
}

/** Errors of the server that mean a wrong setting. The texts do not contain its value. */
const misconfigurations: Record<string, string> = {
  InvalidAccessKeyId: "S3_ACCESS_KEY is not known to the server of S3_ENDPOINT",
  SignatureDoesNotMatch: "S3_SECRET_KEY does not belong to S3_ACCESS_KEY",
  AuthorizationHeaderMalformed: "S3_REGION is not the region of the bucket",
  IllegalLocationConstraintException: "S3_REGION is not the region of the server of S3_ENDPOINT",
  InvalidRegion: "S3_REGION is not the region of the server of S3_ENDPOINT",
  PermanentRedirect: "S3_ENDPOINT or S3_REGION is not that of the bucket",
  MovedPermanently: "S3_ENDPOINT or S3_REGION is not that of the bucket",
  BucketAlreadyExists: "S3_BUCKET belongs to somebody else",
  RequestTimeTooSkewed: "the clock of this machine is not that of the server of S3_ENDPOINT",
};

/**
 * Objects in a bucket of an S3 server. Creates a missing bucket. Loads the client library at the first use. With an
 * unreachable or slow server, an operation takes 1.5 s at most; during the cool-down it fails at once.
 */
export function s3Storage(settings: S3Settings): Storage {
  const { S3_BUCKET: bucket, S3_REGION: region } = settings;
  const { protocol, hostname, port } = new URL(settings.S3_ENDPOINT);
  const secure = protocol === "https:";
  const agentOptions = { keepAlive: true, maxSockets: CONNECTIONS_MAX };
  const agent = secure ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions);
  let cooldownUntilMs = 0;
  let workedAtMs = Number.NEGATIVE_INFINITY;
  let opened: Promise<Client> | undefined;

  async function connect(): Promise<Client> {
    const { S3_ACCESS_KEY: accessKey, S3_SECRET_KEY: secretKey } = settings;
    for (const [name, value] of Object.entries({ S3_ACCESS_KEY: accessKey, S3_SECRET_KEY: secretKey })) {
      if (!value) throw misconfigured(`${name} must be set, as S3_ENDPOINT is`);
    }
    const minio = await import("minio");
    const client = new minio.Client({
      endPoint: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port) || (secure ? 443 : 80),
      useSSL: secure,
      region,
      accessKey: accessKey as string,
      secretKey: secretKey as string,
      transportAgent: agent,
      transport: boundedTransport(secure) as NonNullable<ClientOptions["transport"]>,
      retryOptions: { disableRetry: true },
    });
    const answer = await probe(client, bucket);
    if (answer === "no bucket") {
      await client.makeBucket(bucket, region).catch((error) => {
        // Another process has created it.
        if (codeOf(error) !== "BucketAlreadyOwnedByYou") throw error;
      });
    }
    return client;
  }
  const client = (): Promise<Client> => {
    opened ??= connect().catch((error) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };

  /** Repeats a failed operation once where a repeat may succeed. @throws StorageError for every error */
  async function reachable<T>(work: (client: Client) => Promise<T>): Promise<T> {
    if (performance.now() < cooldownUntilMs) throw new StorageError("unavailable");
    const startedMs = performance.now();
    for (let again = true; ; again = false) {
      try {
        const result = await withTimeout(OPERATION_TIMEOUT_MS, async () => work(await client()));
        workedAtMs = performance.now();
        return result;
      } catch (error) {
        if (error instanceof StorageError) throw error;
        const code = codeOf(error);
        const about = misconfigurations[code];
        if (about !== undefined) throw misconfigured(about, error);
        // The bucket was deleted: connecting again creates it.
        if (code === "NoSuchBucket") opened = undefined;
        const soon = performance.now() - startedMs < RETRY_WITHIN_MS;
        // The usual reason is a keep-alive connection that the server has closed.
        if (again && soon && (code === "NoSuchBucket" || !isRefusal(code))) continue;
        const nowMs = performance.now();
        if (!isRefusal(code) && nowMs - workedAtMs > COOLDOWN_MS) cooldownUntilMs = nowMs + COOLDOWN_MS;
        throw new StorageError("unavailable", error);
      }
    }
  }

  return {
    async open() {
      await reachable(async () => undefined);
    },
    async put(key, bytes, contentType = "application/octet-stream") {
      const name = requireKey(key);
      const headers = { "Content-Type": contentType, "Cache-Control": CACHE_CONTROL };
      await reachable((s3) => s3.putObject(bucket, name, Buffer.from(bytes), bytes.length, headers));
    },
    async get(key) {
      const name = requireKey(key);
      return await reachable(async (s3) => {
        const stream = await s3.getObject(bucket, name).catch((error) => {
          if (codeOf(error) === "NoSuchKey") return undefined;
          throw error;
        });
        return stream && (await bytesOf(stream));
      });
    },
    async delete(key) {
      const name = requireKey(key);
      await reachable((s3) => s3.removeObject(bucket, name));
    },
    async list(prefix, limit) {
      const from = requirePrefix(prefix);
      return await reachable(async (s3) => {
        const keys: string[] = [];
        const objects = s3.listObjectsV2(bucket, from, true);
        // Leaving the loop ends the stream: the next page is not requested.
        for await (const { name } of objects as AsyncIterable<{ name?: string }>) {
          if (name !== undefined) keys.push(name);
          if (keys.length >= limit) break;
        }
        return keys;
      });
    },
    async ready() {
      return await reachable(async (s3) => (await probe(s3, bucket)) === "bucket").catch(() => false);
    },
    close: () => agent.destroy(),
  };
}

/** @throws Error for an object above OBJECT_MAX_BYTES; leaving the loop closes the connection */
async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > OBJECT_MAX_BYTES) throw new Error("the object is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function probe(client: Client, bucket: string): Promise<"bucket" | "no bucket"> {
  try {
    (await client.getObject(bucket, PROBE_KEY)).destroy();
    return "bucket";
  } catch (error) {
    const code = codeOf(error);
    if (code === "NoSuchBucket") return "no bucket";
    // A user without the right to list the bucket gets AccessDenied for a missing object.
    if (code === "NoSuchKey" || code === "AccessDenied") return "bucket";
    throw error;
  }
}

/** Adds a time limit to every request of the library, which has none. */
function boundedTransport(secure: boolean) {
  const send = secure ? httpsRequest : httpRequest;
  return {
    request: (options: RequestOptions, listener: Parameters<typeof httpRequest>[2]) =>
      send({ ...options, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) }, listener),
  };
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? "");
}

/** Whether the server has answered with an error that a repeat would get again. */
function isRefusal(code: string): boolean {
  return /^[A-Z][a-z]/.test(code) && !["SlowDown", "InternalError", "ServiceUnavailable"].includes(code);
}

function misconfigured(about: string, cause?: unknown): StorageError {
  return new StorageError("misconfigured", cause, about);
}
