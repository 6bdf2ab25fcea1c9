import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "@jest/globals";

const HASHES = 16;
/** Four threads would keep 19 MB each. */
const KEPT_MAX_MB = 30;
const hasher = resolve("providers/identity/password-hash.ts");

/** Prints how many megabytes of its own memory a process has more after it has hashed passwords at once. */
const program = `
  import { readFileSync } from "node:fs";
  import { passwordHasher } from ${JSON.stringify(hasher)};
  const own = () => Number(/RssAnon:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
  const { hash } = passwordHasher();
  await hash("warm");
  const before = own();
  await Promise.all(Array.from({ length: ${HASHES} }, () => hash("password")));
  console.log(own() - before);`;

const settingsIn = (text: string) =>
  Object.fromEntries([...text.matchAll(/(MALLOC_\w+)=(\d+)/g)].map(([, name, value]) => [name, value]));
const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as { scripts: { start: string } };

describe("the settings of glibc's allocator", () => {
  it("in npm start, return the memory of password hashes to the system", async () => {
    const words = ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", program];
    const env = { ...process.env, NODE_OPTIONS: "", ...settingsIn(scripts.start) };
    const { stdout } = await promisify(execFile)(process.execPath, words, { env });
    expect(Number(stdout)).toBeLessThan(KEPT_MAX_MB);
  });

  it("are the same in the image", () => {
    expect(settingsIn(readFileSync("Dockerfile", "utf8"))).toEqual(settingsIn(scripts.start));
  });
});
