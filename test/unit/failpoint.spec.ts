import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "@jest/globals";

const ROOT = join(import.meta.dirname, "..", "..");
const sourceOf = (path: string) => readFileSync(join(ROOT, path), "utf8");
const program = `
  import { failpoint } from "./lib/failpoint.ts";
  for (const name of ["relay.sent", "relay.published", "relay.published", "relay.published"]) {
    console.log(name);
    failpoint(name);
  }`;

function run(env: Record<string, string>) {
  const { PATH } = process.env;
  return spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: ROOT,
    env: { PATH, ...env },
    encoding: "utf8",
  });
}

describe("failpoint", () => {
  it("without the variable, does nothing", () => {
    expect(run({})).toMatchObject({ status: 0, signal: null });
  });

  it("at the visit that the variable names, kills the process", () => {
    const { signal, stdout } = run({ FAILPOINTS: "relay.published:2" });
    expect(signal).toBe("SIGKILL");
    expect(stdout.trim().split("\n")).toEqual(["relay.sent", "relay.published", "relay.published"]);
  });

  it("in production, is refused before the start", () => {
    const { status, stdout, stderr } = run({ FAILPOINTS: "relay.sent", NODE_ENV: "production" });
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toContain("FAILPOINTS must not be set in production");
  });

  it("that is declared is used in the product, and no other exists", () => {
    const declared = [...sourceOf("lib/failpoint.ts").matchAll(/^ {2}\| "([a-z.]+)"/gm)].map(
      ([, name]) => name,
    );
    const placed = globSync("{mixins,services}/**/*.ts", { cwd: ROOT }).flatMap((path) =>
      [...sourceOf(path).matchAll(/\bfailpoint\("([a-z.]+)"\)/g)].map(([, name]) => name),
    );
    expect(declared.length).toBeGreaterThan(10);
    expect([...new Set(placed)].sort()).toEqual([...declared].sort());
  });
});
