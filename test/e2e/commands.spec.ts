import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "@jest/globals";
import { platform } from "../support/platform.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "commands "));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(script: string, words: string[], dataDir: string, env: object = {}, input = "") {
  const child = spawn(process.execPath, [`platform/commands/${script}.ts`, ...words], {
    cwd: root,
    env: { ...process.env, DATA_DIR: dataDir, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.end(input);
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once("exit", resolve)),
  ]);
  return { stdout, stderr, code };
}

describe("npm run admin:create", () => {
  it("creates an admin who can sign in, once", async () => {
    const { url, dataDir } = await platform();
    const email = `boss-${crypto.randomUUID()}@example.org`;
    const password = crypto.randomUUID();
    const made = await run("admin-create", ["--email", email], dataDir, {}, `${password}\n`);
    expect(made).toEqual({
      code: 0,
      stderr: "",
      stdout: expect.stringContaining(`${email} is an admin now`),
    });
    expect(made.stdout).not.toContain(password);

    const signedIn = await fetch(`${url}/api/v1/sessions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ email, password }),
    });
    expect(signedIn.status).toBe(201);

    const again = await run("admin-create", ["--email", email], dataDir, { ADMIN_PASSWORD: "another-one-9" });
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("is an admin already") });
  });

  it("accepts a password from an input without a line end", async () => {
    const { dataDir } = await platform();
    const email = `boss-${crypto.randomUUID()}@example.org`;
    const made = await run("admin-create", ["--email", email], dataDir, {}, crypto.randomUUID());
    expect(made).toMatchObject({ code: 0, stdout: expect.stringContaining(`${email} is an admin now`) });
  });

  it("without an address, or with too short a password, prints the requirement", async () => {
    const { dataDir } = await platform();
    expect(await run("admin-create", [], dataDir)).toMatchObject({
      code: 64,
      stderr: "npm run admin:create -- --email admin@example.org\n",
    });
    const short = await run("admin-create", ["--email", "a@example.org"], dataDir, {}, "short\n");
    expect(short).toMatchObject({ code: 64, stderr: "The password needs at least 8 characters.\n" });
  });
});

describe("the scripts that read settings", () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const [envFile] = /platform\/env-file\.js/.exec(scripts.start) ?? [];

  it.each(["start", "dev", "demo", "seed", "day", "repl", "migrate", "admin:create", "rebuild", "clean"])(
    "npm run %s reads .env first",
    (name) => expect(scripts[name]).toMatch(/^(?:MALLOC_\w+=\d+ )*node --import \.\/platform\/env-file\.js /),
  );

  it.each([
    [{}, "data of the file"],
    [{ DATA_DIR: "data of mine" }, "data of mine"],
  ])("use .env, unless the environment sets the variable (%o)", async (own, expected) => {
    const home = mkdtempSync(join(folder, "home "));
    writeFileSync(join(home, ".env"), '# a comment\nDATA_DIR="data of the file"\n');
    const { DATA_DIR: _, ...env } = process.env;
    const words = ["--import", join(root, envFile ?? ""), join(root, "platform/commands/clean.ts")];
    const { stdout } = await promisify(execFile)(process.execPath, words, {
      cwd: home,
      env: { ...env, ...own },
    });
    expect(stdout).toBe(`There is no ${join(home, expected)}.\n`);
  });
});

describe("npm run rebuild", () => {
  it("rebuilds a collection on the running platform", async () => {
    const { dataDir } = await platform();
    const { stdout, stderr, code } = await run("rebuild", ["payments"], dataDir);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout).toMatch(/^payments: \d+ documents\n$/);
    const history = await run("rebuild", ["history"], dataDir);
    expect(history).toMatchObject({
      stdout: expect.stringMatching(/^order_history: \d+ documents\n$/),
      code: 0,
    });
  });

  it("lists the collections for an unknown name", async () => {
    const { dataDir } = await platform();
    const { stderr, code } = await run("rebuild", ["everything"], dataDir);
    expect(code).toBe(64);
    for (const name of ["payments", "order_history", "notifications"]) expect(stderr).toContain(name);
  });
});

describe("npm run migrate and npm run clean", () => {
  it("create the embedded databases without the platform, and remove them only with --yes", async () => {
    const dataDir = join(folder, "data");
    const migrated = await run("migrate", [], dataDir);
    expect(migrated).toMatchObject({ code: 0, stderr: "" });
    expect(migrated.stdout).toMatch(/^orders: 0001_\S+\.ts/m);
    expect((await run("migrate", [], dataDir)).stdout).toContain("identity: up to date");

    expect(await run("clean", [], dataDir)).toMatchObject({
      code: 64,
      stderr: expect.stringContaining("--yes"),
    });
    expect(await run("clean", ["--yes"], dataDir)).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync(dataDir)).toBe(false);
  });

  it("refuse a folder that a platform uses, and one that is no data folder", async () => {
    const { dataDir } = await platform();
    const inUse = { code: 1, stderr: expect.stringContaining("A platform already runs on") };
    expect(await run("clean", ["--yes"], dataDir)).toMatchObject(inUse);
    expect(await run("migrate", [], dataDir)).toMatchObject(inUse);
    writeFileSync(join(folder, "letter.txt"), "mine");
    expect(await run("clean", ["--yes"], folder)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("nothing was removed"),
    });
  });
});
