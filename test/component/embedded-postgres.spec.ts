import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { type EmbeddedPostgres, startPostgres } from "../../platform/embedded-postgres.ts";
import { stopPostgres } from "../../platform/postgres-process.ts";
import { eventually } from "../support/eventually.ts";

const NOBODY = 65_534;
const fixture = fileURLToPath(new URL("../fixtures/postgres-once.ts", import.meta.url));

let dataDir: string;
let server: EmbeddedPostgres;
const progress: string[] = [];
const start = () => startPostgres({ dataDir, unsafe: true, progress: (line) => progress.push(line) });
const pidFile = () => join(dataDir, "postgres", "postmaster.pid");
const pidOf = () => Number(readFileSync(pidFile(), "utf8").split("\n")[0]);
const isAlive = (pid: number) => existsSync(`/proc/${pid}`);

async function query(sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: server.url("postgres"), connectionTimeoutMillis: 500 });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return (await client.query(sql)).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "embedded postgres "));
  chmodSync(dataDir, 0o700);
  server = await start();
});
afterAll(async () => {
  await server.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

describe("the embedded PostgreSQL", () => {
  it("runs in a path with spaces that only its owner can read, with its password in it", async () => {
    expect(await query("SELECT 1 AS one")).toEqual([{ one: 1 }]);
    expect(statSync(join(dataDir, "postgres.password")).mode & 0o777).toBe(0o600);
    expect(progress).toEqual([expect.stringContaining("creating")]);
  });

  it("refuses connections without the password", async () => {
    const url = new URL(server.url("postgres"));
    url.password = "wrong";
    const client = new pg.Client({ connectionString: url.href });
    await expect(client.connect()).rejects.toMatchObject({ code: "28P01" });
  });

  it("that outlived its supervisor is taken over by the next one", async () => {
    const port = server.port;
    server.unwatch();
    server = await start();
    expect([server.takenOver, server.port]).toEqual([true, port]);
  });

  it("limits its log: it begins a new file at 8 MB and keeps at most four", async () => {
    const folder = join(dataDir, "postgres", "log");
    for (let day = 1; day <= 9; day++) writeFileSync(join(folder, `2020-01-0${day}T00-00-00.log`), "old\n");
    await expect(query("SELECT no_such_function()")).rejects.toThrow("does not exist");
    await eventually(() => {
      const files = readdirSync(folder).sort();
      expect(files).toHaveLength(4);
      // The newest, which the server writes, is among them.
      expect(readFileSync(join(folder, files.at(-1) ?? ""), "utf8")).toContain("no_such_function");
    });
    const shown = await query(
      "SELECT name, setting FROM pg_settings WHERE name IN ('log_rotation_size', 'logging_collector') ORDER BY 1",
    );
    expect(shown).toEqual([
      { name: "log_rotation_size", setting: "8192" },
      { name: "logging_collector", setting: "on" },
    ]);
    expect(statSync(join(dataDir, "postgres.log")).size).toBeLessThan(10_000);
  });

  it("after a kill, returns at the same address with all committed data", async () => {
    await query("CREATE TABLE kept AS SELECT 7 AS n");
    process.kill(pidOf(), "SIGKILL");
    await eventually(async () => expect(await query("SELECT n FROM kept")).toEqual([{ n: 7 }]));
    expect(progress.at(-1)).toContain("started again");
  });

  it("when stopped leaves no process and no pid file", async () => {
    const pid = pidOf();
    await server.stop();
    expect([isAlive(pid), existsSync(pidFile())]).toEqual([false, false]);
  });

  it("starts although a pid file has the number of another program", async () => {
    writeFileSync(pidFile(), `${process.pid}\n${join(dataDir, "postgres")}\n0\n5432\n\n127.0.0.1\n`);
    server = await start();
    expect(await query("SELECT n FROM kept")).toEqual([{ n: 7 }]);
  });

  it("is stopped by its folder alone, also by another process", async () => {
    const pid = pidOf();
    server.unwatch();
    await stopPostgres(dataDir);
    expect(isAlive(pid)).toBe(false);
  });
});

/** Root becomes an ordinary user, if that user may run our Node; other users stay the same. */
const NOBODYS = { uid: NOBODY, gid: NOBODY, cwd: "/" };
const mayBecomeNobody =
  process.getuid?.() === 0 && spawnSync(process.execPath, ["--version"], NOBODYS).status === 0;

it("an ordinary user runs it as well", () => {
  const home = mkdtempSync(join(tmpdir(), "ordinary user "));
  if (mayBecomeNobody) chownSync(home, NOBODY, NOBODY);
  const who = mayBecomeNobody ? NOBODYS : { cwd: "/" };
  const result = spawnSync(process.execPath, [fixture, join(home, "data")], { ...who, encoding: "utf8" });
  rmSync(home, { recursive: true, force: true });
  expect(result.stderr).toBe("");
  const uid = mayBecomeNobody ? NOBODY : process.getuid?.();
  expect(result.stdout).toMatch(new RegExp(`^uid ${uid} port \\d+\n$`));
});
