import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../platform/free-port.ts";
import { binary, sources } from "./binaries.ts";
import { type Restartable, restartable, startProcess } from "./process.ts";

/** It keeps what it has from one start to the next. */
export interface MinioServer extends Restartable {
  readonly url: string;
  readonly version: string;
  /** Its root user. */
  readonly accessKey: string;
  readonly secretKey: string;
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
  const server = await restartable(run);
  // A server that `go install` built knows no version of its own; the pinned one is that of its module.
  const version = sources.minio.version;
  return {
    url,
    version,
    accessKey,
    secretKey,
    ...server,
    async remove() {
      await server.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
