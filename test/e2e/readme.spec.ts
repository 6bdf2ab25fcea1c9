import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { delimiter, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "@jest/globals";
import { connect } from "./client.ts";
import { admin, type Confirmation } from "./world.ts";

const textOf = (page: string) =>
  readFileSync(fileURLToPath(new URL(`../../${page}`, import.meta.url)), "utf8");
/** Holds a curl of our own: the test takes none of the machine's. */
const bin = fileURLToPath(new URL("../support/bin", import.meta.url));
const calls = /## An order in five calls\n[\s\S]*?```sh\n([\s\S]*?)```/.exec(textOf("README.md"))?.[1] ?? "";

/** The one block of commands on a page that begins so. */
function blockOf(page: string, start: string): string {
  const blocks = [...textOf(page).matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text]) => text as string);
  const found = blocks.filter((text) => text.startsWith(start));
  expect(found).toHaveLength(1);
  return found[0] as string;
}

/** The console, without npm, which the test takes none of the machine's of. */
const REPL = `node ${fileURLToPath(new URL("../../platform/repl/client.ts", import.meta.url))}`;

async function shell(script: string, env: Record<string, string> = {}): Promise<string> {
  const { stdout } = await promisify(execFile)("sh", ["-eu", "-c", script], {
    env: { ...process.env, ...env, PATH: [bin, dirname(process.execPath), process.env.PATH].join(delimiter) },
  });
  return stdout.trim();
}

describe("the README's order in five calls", () => {
  it("run by a shell, confirms an order and prints the checkout page", async () => {
    const api = await connect();
    const script = calls.replace("http://127.0.0.1:3000", api.url);
    expect(script.match(/\bcurl\b/g)).toHaveLength(5);
    const stdout = await shell(script);
    const confirmed = JSON.parse(stdout.split("\n").at(-1) ?? "") as Confirmation & { status: string };
    expect(confirmed).toMatchObject({
      status: "pending",
      checkout_url: expect.stringContaining(api.sandboxUrl),
    });
    expect((await fetch(confirmed.checkout_url)).status).toBe(200);
  }, 180_000);
});

describe("the commands on pages of docs", () => {
  it("for a template override, beside the platform, store a draft and show its preview", async () => {
    const api = await connect();
    const stdout = await shell(blockOf("docs/notifications.md", "curl -s $API/templates"), {
      API: `${api.url}/api/v1`,
      ADMIN: `Authorization: Bearer ${await admin(api)}`,
      JSON: "Content-Type: application/json",
    });
    expect(JSON.parse(stdout)).toMatchObject({
      language: "fr",
      enabled: false,
      preview: { title: "Livré", body: expect.stringMatching(/^Bon appétit, \S+ ! Votre commande de /) },
    });
  }, 180_000);

  it("for a gRPC client, create a key by which the program lists orders until it is revoked", async () => {
    const api = await connect();
    const block = blockOf("docs/api.md", "GRPC=")
      .replace("npm run -s repl --", REPL)
      .replace("http://127.0.0.1:3000", api.url);
    const env = { DATA_DIR: api.dataDir };
    const again = `echo; echo "$KEY"; ${REPL} clients revoke my-program --yes`;
    const stdout = await shell(`${block}\n${again}`, env);
    const [answer = "", key] = stdout.split(/\n\n|\n(?=my-program)/);
    expect(JSON.parse(answer)).toEqual({ items: expect.any(Array) });
    const refused = shell(block.replace(/^KEY=[\s\S]*?\n(?=TOKEN=)/m, `KEY=${key}\n`), env);
    await expect(refused).rejects.toMatchObject({
      stderr: expect.stringContaining("No valid client key."),
    });
  }, 180_000);

  it("for a VAPID pair, print keys of the lengths that browsers and RFC 8292 require", async () => {
    const printed = await shell(blockOf("docs/operating.md", "npx node -e 'const k"));
    const keys = Object.fromEntries(
      [...printed.matchAll(/(\w+): '([\w-]+)'/g)].map(([, name, key]) => [name, key]),
    );
    const lengthOf = (key: string | undefined) => Buffer.from(key ?? "", "base64url").length;
    expect(lengthOf(keys.publicKey)).toBe(65);
    // OpenSSL drops leading zero bytes, which the platform adds again.
    expect(lengthOf(keys.privateKey)).toBeGreaterThan(28);
    expect(lengthOf(keys.privateKey)).toBeLessThanOrEqual(32);
  });
});
