import { execFile, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { freePort } from "../../platform/free-port.ts";
import { plainClient } from "../support/bridge.ts";
import { eventually } from "../support/eventually.ts";
import { type StartedPlatform, startPlatform } from "../support/platform.ts";
import { isTimed } from "../support/timed.ts";

const NOBODY = 65_534;
const STOP_BUDGET_MS = 10_000;
const root = fileURLToPath(new URL("../..", import.meta.url));
/** A platform without its sandbox starts sooner, and is launched and stopped like the whole. */
const small = { SANDBOX: "false", LOG_LEVEL: "error", POSTGRES_POOL: "25" };
const grpcPort = await freePort();

const folder = mkdtempSync(join(tmpdir(), "launcher "));
const dataDir = join(folder, "data of mine");
const mayBecomeNobody =
  process.getuid?.() === 0 &&
  spawnSync(process.execPath, ["--version"], { uid: NOBODY, gid: NOBODY, cwd: "/" }).status === 0;
const user = mayBecomeNobody ? { uid: NOBODY, gid: NOBODY } : {};
let first: StartedPlatform;

/** Runs the launcher until it ends by itself. */
async function refusal(env: Record<string, string>): Promise<{ code: number; stderr: string }> {
  const all = { ...process.env, PORT: "0", OPS_PORT: "0", SANDBOX_PORT: "0", ...small, ...env };
  const run = promisify(execFile)(process.execPath, ["platform/waybill.js"], { cwd: root, env: all });
  return await run.then(
    () => ({ code: 0, stderr: "" }),
    ({ code, stderr }) => ({ code, stderr }),
  );
}

const processesOf = (path: string) =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => spawnSync("grep", ["-qsF", path, `/proc/${pid}/cmdline`]).status === 0);

/** The statuses of /readyz, one after the other, until no server listens. */
async function readinessUntilGone(): Promise<number[]> {
  const statuses: number[] = [];
  for (;;) {
    const answer = await fetch(`${first.opsUrl}/readyz`, { headers: { connection: "close" } }).catch(
      () => undefined,
    );
    if (!answer) return statuses;
    statuses.push(answer.status);
  }
}

beforeAll(async () => {
  chmodSync(folder, 0o700);
  mkdirSync(join(dataDir, "documents"), { recursive: true });
  writeFileSync(join(dataDir, "documents/notifications.db"), "{}");
  if (mayBecomeNobody) {
    for (const path of ["", ".", "documents", "documents/notifications.db"]) {
      chownSync(path === "" ? folder : join(dataDir, path), NOBODY, NOBODY);
    }
  }
  first = await startPlatform(dataDir, { ...small, GRPC_PORT: String(grpcPort) }, user);
});
afterAll(async () => {
  await first.end("SIGKILL").catch(() => undefined);
  rmSync(folder, { recursive: true, force: true });
});

describe("the launcher", () => {
  it("starts for an ordinary user, in a path with spaces below a folder of mode 0700", async () => {
    await eventually(() => expect(first.output()).toContain("Waybill is ready after"));
    expect(statSync(join(dataDir, "secrets.json"))).toMatchObject({ mode: 0o100600 });
    expect(statSync(join(dataDir, "control.sock")).mode & 0o777).toBe(0o600);
  });

  it("removes the document files of earlier versions, which contain personal data", () => {
    expect(existsSync(join(dataDir, "documents"))).toBe(false);
  });

  it("prints all addresses in lines that fit a terminal, without any secret", () => {
    const tooLong = first
      .output()
      .split("\n")
      .filter((line) => line.length > 80 && !line.includes(dataDir));
    expect(tooLong).toEqual([]);
    expect(first.output()).not.toContain(first.adminPassword || "postgres://");
  });

  it("serves /livez, /readyz and /metrics on the operations port", async () => {
    const get = async (path: string) => (await fetch(first.opsUrl + path)).status;
    expect(await Promise.all(["/livez", "/readyz", "/metrics", "/"].map(get))).toEqual([200, 200, 200, 404]);
    expect(await (await fetch(`${first.opsUrl}/metrics`)).text()).toContain("process_resident_memory_bytes");
  });

  it("offers all gRPC services at GRPC_PORT, and prints the address", async () => {
    const address = `127.0.0.1:${grpcPort}`;
    const client = plainClient(address);
    const services = ["waybill.orders.v1.Orders", "waybill.partners.v1.Partners"];
    expect(await Promise.all(services.map(client.health))).toEqual(["SERVING", "SERVING"]);
    client.close();
    expect(first.output()).toMatch(new RegExp(`^ +gRPC +${address}$`, "m"));
  });

  it("gives its PostgreSQL enough connections for the pools of all services", () => {
    const [postmaster = ""] = readFileSync(join(dataDir, "postgres", "postmaster.pid"), "utf8").split("\n");
    const command = readFileSync(`/proc/${postmaster}/cmdline`, "utf8");
    const [, connections] = /max_connections=(\d+)/.exec(command) ?? [];
    expect(Number(connections)).toBeGreaterThan(4 * Number(small.POSTGRES_POOL) * 2);
  });

  it("started twice on the same folder, is refused in one line with instructions", async () => {
    const options = user.uid === undefined ? {} : { uid: user.uid, gid: user.gid };
    const run = spawnSync(process.execPath, ["platform/waybill.js"], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, ...small, PORT: "0", OPS_PORT: "0", DATA_DIR: dataDir },
      ...options,
    });
    expect(run.status).toBe(1);
    expect(run.stderr).toMatch(/^A platform already runs on .*process \d+.*another DATA_DIR and PORT\.\n$/);
  });

  it("with a port in use, is refused in one line with instructions", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    const { port } = other.address() as { port: number };
    for (const name of ["OPS_PORT", "GRPC_PORT"]) {
      const { code, stderr } = await refusal({ [name]: String(port), DATA_DIR: join(folder, "never") });
      expect(code).toBe(1);
      expect(stderr).toBe(
        `Port ${port} on 127.0.0.1 is taken: start with another ${name}, as in ${name}=0 npm start\n`,
      );
    }
    other.close();
  });

  it("with invalid variables, exits with 78 and prints a line for each", async () => {
    const { code, stderr } = await refusal({ PORT: "none", SANDBOX: "perhaps" });
    expect(code).toBe(78);
    expect(stderr).toBe("PORT must be a whole number from 0 to 65535\nSANDBOX must be true or false\n");
  });

  it("runs beside another platform, on a relative folder, and stops without affecting it", async () => {
    const env = { ...small, DATA_DIR: "./from here" };
    const second = await startPlatform(join(folder, "from here"), env, { ...user, cwd: folder });
    expect(second.opsUrl).not.toBe(first.opsUrl);
    expect(await second.end("SIGTERM")).toBe(0);
    expect((await fetch(`${first.opsUrl}/readyz`)).status).toBe(200);
  });

  it("killed with SIGKILL, starts again on the same folder", async () => {
    await first.end("SIGKILL");
    first = await startPlatform(dataDir, small, user);
    expect(first.output()).toContain("took over the server");
    expect((await fetch(`${first.opsUrl}/readyz`)).status).toBe(200);
  });

  it("stops on Ctrl-C with exit code 0, in time, unready first, and leaves no process, lock or address", async () => {
    const startedMs = performance.now();
    const ended = first.end("SIGINT");
    expect(await readinessUntilGone()).toEqual(expect.arrayContaining([503]));
    expect(await ended).toBe(0);
    if (isTimed) expect(performance.now() - startedMs).toBeLessThan(STOP_BUDGET_MS);
    expect(processesOf(dataDir)).toEqual([]);
    const left = [
      "platform.lock",
      "platform.lock-journal",
      "platform.json",
      "control.sock",
      "postgres/postmaster.pid",
    ];
    expect(left.filter((name) => existsSync(join(dataDir, name)))).toEqual([]);
  });
});
