import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { delimiter, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "@jest/globals";
import { connect } from "./client.ts";
import type { Confirmation } from "./world.ts";

const readme = readFileSync(fileURLToPath(new URL("../../README.md", import.meta.url)), "utf8");
/** Holds a curl of our own: the test takes none of the machine's. */
const bin = fileURLToPath(new URL("../support/bin", import.meta.url));
const calls = /## An order in five calls\n[\s\S]*?```sh\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";

describe("the README's order in five calls", () => {
  it("run by a shell, confirms an order and prints the checkout page", async () => {
    const api = await connect();
    const script = calls.replace("http://127.0.0.1:3000", api.url);
    expect(script.match(/\bcurl\b/g)).toHaveLength(5);
    const { stdout } = await promisify(execFile)("sh", ["-eu", "-c", script], {
      env: { ...process.env, PATH: [bin, dirname(process.execPath), process.env.PATH].join(delimiter) },
    });
    const confirmed = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Confirmation & { status: string };
    expect(confirmed).toMatchObject({
      status: "pending",
      checkout_url: expect.stringContaining(api.sandboxUrl),
    });
    expect((await fetch(confirmed.checkout_url)).status).toBe(200);
  }, 180_000);
});
