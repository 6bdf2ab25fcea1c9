import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../platform/free-port.ts";
import { binary } from "./binaries.ts";
import { restartable, startProcess } from "./process.ts";

const HOST = "127.0.0.1";
const ANSWER_TIMEOUT_MS = 10_000;

export interface Ferretdb {
  /** Without a database: each user names its own. */
  readonly url: string;
  readonly port: number;
  readonly version: string;
  /** Starts it again on the same port and the same data. */
  start(): Promise<void>;
  /** Ends it and keeps its data. */
  halt(): Promise<void>;
  /** As a power failure of the process: SIGKILL. */
  kill(): Promise<void>;
  /** Ends it for good and removes its data. */
  stop(): Promise<void>;
}

/**
 * A server that speaks MongoDB's protocol, with its data in SQLite files of a temporary folder, or in the database
 * of `postgresUrl`. It does not know write concerns beyond taking them: what they promise is MongoDB's own matter.
 */
export async function startFerretdb(options: { postgresUrl?: string } = {}): Promise<Ferretdb> {
  const program = await binary("ferretdb");
  const folder = mkdtempSync(join(tmpdir(), "waybill-ferretdb-"));
  const port = await freePort();
  const backend = options.postgresUrl
    ? ["--handler=postgresql", `--postgresql-url=${options.postgresUrl}`]
    : ["--handler=sqlite", `--sqlite-url=file:${folder}/`];
  const words = [
    ...backend,
    `--state-dir=${folder}`,
    `--listen-addr=${HOST}:${port}`,
    ...["--debug-addr=-", "--telemetry=disable", "--log-level=error"],
  ];
  const server = await restartable(() => startProcess(program, words, () => knock(port)));
  return {
    url: `mongodb://${HOST}:${port}/`,
    port,
    version: await versionOf(`mongodb://${HOST}:${port}/`),
    start: server.start,
    halt: server.stop,
    kill: server.kill,
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The version that the server reports. */
async function versionOf(url: string): Promise<string> {
  const { MongoClient } = await import("mongodb");
  const client = new MongoClient(url, { serverSelectionTimeoutMS: ANSWER_TIMEOUT_MS });
  try {
    const { version, ferretdbVersion } = await client.db("admin").command({ buildInfo: 1 });
    return `FerretDB ${ferretdbVersion} (MongoDB ${version})`;
  } finally {
    await client.close();
  }
}

function knock(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: HOST, port }, () => {
      socket.destroy();
      resolve();
    });
    socket.once("error", reject);
  });
}
