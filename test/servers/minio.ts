import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../platform/free-port.ts";
import { binary, sources } from "./binaries.ts";
import { startProcess } from "./process.ts";

export interface MinioServer {
  readonly url: string;
  readonly version: string;
  /** Its root user. */
  readonly accessKey: string;
  readonly secretKey: string;
  /** Starts it again after `stop` or `kill`, with what it kept. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** As a power failure would: SIGKILL. */
  kill(): Promise<void>;
  /** SIGSTOP and SIGCONT: it is there and does not answer. */
  freeze(): void;
  thaw(): void;
  /** Stops it and removes its folder. */
  remove(): Promise<void>;
}

/** A MinIO server with one disk, on a free loopback port, in a folder of its own. It answers when this resolves. */
export async function startMinio(): Promise<MinioServer> {
  const [path, port] = [await binary("minio"), await freePort()];
  const folder = await mkdtemp(join(tmpdir(), "waybill-minio-"));
  const url = `http://127.0.0.1:${port}`;
  const [accessKey, secretKey] = ["waybill-tests", "a-secret-of-the-tests"];
  const env = {
    MINIO_ROOT_USER: accessKey,
    MINIO_ROOT_PASSWORD: secretKey,
    MINIO_REGION: "us-east-1",
    MINIO_BROWSER: "off",
    MINIO_UPDATE: "off",
    HOME: folder,
  };
  const answers = async () => {
    const response = await fetch(`${url}/minio/health/cluster`, { signal: AbortSignal.timeout(1_000) });
    if (!response.ok) throw new Error(`health: ${response.status}`);
    await response.arrayBuffer();
  };
  const run = () =>
    startProcess(
      path,
      ["server", "--quiet", "--address", `127.0.0.1:${port}`, join(folder, "disk")],
      answers,
      env,
    );
  let server = await run();
  // A server that `go install` built knows no version of its own; the pinned one is that of its module.
  const version = sources.minio.version;
  return {
    url,
    version,
    accessKey,
    secretKey,
    async start() {
      server = await run();
    },
    stop: () => server.end("SIGTERM"),
    kill: () => server.end("SIGKILL"),
    freeze: () => server.signal("SIGSTOP"),
    thaw: () => server.signal("SIGCONT"),
    async remove() {
      await server.end("SIGKILL");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
