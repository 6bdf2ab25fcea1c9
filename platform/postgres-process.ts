import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const STOP_TIMEOUT_MS = 8_000;
const POLL_MS = 10;

export interface Server {
  pid: number;
  port: number;
}

/** The cluster's folder inside the data folder. */
export const clusterOf = (dataDir: string) => join(dataDir, "postgres");

/**
 * Stops the server of a data folder, even if another process started it, and waits for its end.
 * @param how SIGINT disconnects clients and writes a checkpoint; SIGQUIT recovers at the next start instead
 */
export async function stopPostgres(dataDir: string, how: "SIGINT" | "SIGQUIT" = "SIGINT"): Promise<void> {
  const server = readPidFile(clusterOf(dataDir));
  if (!server || !isServerOf(server.pid, clusterOf(dataDir))) return;
  process.kill(server.pid, how);
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  while (isAlive(server.pid)) {
    if (Date.now() > deadline) {
      process.kill(server.pid, "SIGQUIT");
      return;
    }
    await delay(POLL_MS);
  }
}

/** Lines of postmaster.pid: pid, folder, start time, port, socket folder, address, shared memory, status. */
export function readPidFile(cluster: string): (Server & { ready: boolean }) | undefined {
  const path = join(cluster, "postmaster.pid");
  if (!existsSync(path)) return undefined;
  const lines = readFileSync(path, "utf8").split("\n");
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  return { pid, port: Number(lines[3]), ready: lines[7]?.trim() === "ready" };
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Whether the process is the server of this folder, not another program with a reused pid. */
export function isServerOf(pid: number, cluster: string): boolean {
  if (!isAlive(pid)) return false;
  const command = existsSync(`/proc/${pid}/cmdline`)
    ? readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")
    : spawnSync("ps", ["-ww", "-o", "command=", "-p", String(pid)], { encoding: "utf8" }).stdout;
  return command.includes(cluster);
}
