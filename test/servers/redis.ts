import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { freePort } from "../../platform/free-port.ts";
import { binary } from "./binaries.ts";
import type { Certificate } from "./certificate.ts";
import { type Restartable, restartable, startProcess } from "./process.ts";

/** Each start is an empty one. */
export interface RedisServer extends Restartable {
  /** Changes never: a server that is started again listens where it did. */
  readonly url: string;
  readonly version: string;
  readonly port: number;
  /** A connection of the test's own; ended with the server. */
  readonly admin: Redis;
  /** Stops it and removes its folder. */
  remove(): Promise<void>;
}

export interface RedisServerOptions {
  password?: string;
  /** It then takes connections by TLS alone. */
  tls?: Certificate;
}

/** A redis-server on a free port of the loopback, which keeps nothing on disk. */
export async function startRedis({ password, tls }: RedisServerOptions = {}): Promise<RedisServer> {
  const [path, port] = [await binary("redis-server"), await freePort()];
  const folder = await mkdtemp(join(tmpdir(), "waybill-redis-"));
  const words = [
    ...["--port", tls ? "0" : String(port), "--bind", "127.0.0.1", "--dir", folder],
    ...["--save", "", "--appendonly", "no", "--daemonize", "no"],
    ...(password ? ["--requirepass", password] : []),
    ...(tls
      ? ["--tls-port", String(port), "--tls-cert-file", tls.certFile, "--tls-key-file", tls.keyFile]
      : []),
    ...(tls ? ["--tls-auth-clients", "no"] : []),
  ];
  const admin = new Redis({
    port,
    host: "127.0.0.1",
    lazyConnect: true,
    maxRetriesPerRequest: 1,
    retryStrategy: () => 50,
    ...(password && { password }),
    ...(tls && { tls: { ca: tls.cert, servername: "localhost" } }),
  });
  admin.on("error", () => undefined);
  const run = () => startProcess(path, words, () => admin.ping());
  const server = await restartable(run);
  const version = /redis_version:(\S+)/.exec(await admin.info("server"))?.[1] ?? "unknown";
  const secret = password ? `:${encodeURIComponent(password)}@` : "";
  return {
    url: `${tls ? "rediss" : "redis"}://${secret}${tls ? "localhost" : "127.0.0.1"}:${port}`,
    version,
    port,
    admin,
    ...server,
    async remove() {
      admin.disconnect();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
