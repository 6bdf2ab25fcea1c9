import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";
import { freePort } from "../../platform/free-port.ts";
import { eventually } from "../support/eventually.ts";
import { runFolder } from "../support/test-run.ts";
import { connect } from "./client.ts";
import { admin, atCheckout, type Confirmation, customer, order, orderWhen } from "./world.ts";

const textOf = (page: string) =>
  readFileSync(fileURLToPath(new URL(`../../${page}`, import.meta.url)), "utf8");
/** Holds a curl of our own: the test takes none of the machine's. */
const bin = fileURLToPath(new URL("../support/bin", import.meta.url));
const calls = /## An order in five calls\n[\s\S]*?```sh\n([\s\S]*?)```/.exec(textOf("README.md"))?.[1] ?? "";

const SHELL_TIMEOUT_MS = 150_000;

/** The blocks of code of a language on a page, in their order. */
function blocksOf(page: string, language: string): string[] {
  return [...textOf(page).matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, "g"))].map(
    ([, text]) => text as string,
  );
}

/** The one block of commands on a page that begins so. */
function blockOf(page: string, start: string): string {
  const found = blocksOf(page, "sh").filter((text) => text.startsWith(start));
  expect(found).toHaveLength(1);
  return found[0] as string;
}

/** The console, without npm, which the test takes none of the machine's of. */
const REPL = `node ${fileURLToPath(new URL("../../platform/repl/client.ts", import.meta.url))}`;

/**
 * Runs commands, and ends what they leave running.
 * @throws Error with `stderr` when a command fails
 */
async function shell(script: string, env: Record<string, string> = {}, cwd?: string): Promise<string> {
  const child = spawn("sh", ["-eu", "-c", script], {
    ...(cwd !== undefined && { cwd }),
    env: { ...process.env, ...env, PATH: [bin, dirname(process.execPath), process.env.PATH].join(delimiter) },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  const limit = setTimeout(() => process.kill(-(child.pid as number)), SHELL_TIMEOUT_MS);
  const [code] = (await once(child, "exit")) as [number | null];
  clearTimeout(limit);
  try {
    process.kill(-(child.pid as number));
  } catch {
    // Nothing was left running.
  }
  const [stdout, stderr] = await output;
  if (code !== 0) throw Object.assign(new Error(`exit ${code}: ${stdout}\n${stderr}`), { stderr });
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
    // With more orders of other specs the answer also has `next_cursor`.
    expect(JSON.parse(answer)).toMatchObject({ items: expect.any(Array) });
    const refused = shell(block.replace(/^KEY=[\s\S]*?\n(?=TOKEN=)/m, `KEY=${key}\n`), env);
    await expect(refused).rejects.toMatchObject({
      stderr: expect.stringContaining("No valid client key."),
    });
  }, 180_000);

  it("for partners' programmers, lead from nothing to orders that the programs accept and that become ready", async () => {
    const api = await connect();
    const folder = mkdtempSync(join(runFolder(), "partner-"));
    const page = "docs/partners.md";
    const port = await freePort("127.0.0.1");
    for (const [language, file] of [
      ["js", "receiver.mjs"],
      ["py", "receiver.py"],
    ] as const)
      writeFileSync(join(folder, file), blocksOf(page, language)[0] as string);
    const script = blocksOf(page, "sh")
      .join("\n")
      .replace("http://127.0.0.1:3000", api.url)
      .replace("PORT=4000", `PORT=${port}`);
    const stdout = await shell(script, { DATA_DIR: api.dataDir }, folder);
    for (const line of ["received webhook.test ", '"status":"preparing"', '"status":"ready"'])
      expect(stdout).toContain(line);
    // A machine without Python runs the program in JavaScript only.
    if (spawnSync("python3", ["--version"]).status !== 0) return;
    const made = /^partner (\S+), product (\S+), secret (\S+)$/m.exec(stdout);
    const [partnerId = "", product = "", SECRET = ""] = made?.slice(1) ?? [];
    const env = { ...process.env, SECRET, PORT: String(port) };
    const receiver = spawn("python3", ["receiver.py"], { cwd: folder, env });
    try {
      await eventually(() => fetch(`http://127.0.0.1:${port}`));
      const buyer = await customer(api);
      const { order_id, checkout_url } = await order(api, buyer, { partnerId, products: [product] });
      await atCheckout(checkout_url, { action: "pay" });
      await orderWhen(api, buyer, order_id, ({ status }) => expect(status).toBe("preparing"));
    } finally {
      receiver.kill();
    }
  }, 180_000);

  it("for payment systems, lead to an order that is paid at the program and refunded by it", async () => {
    const api = await connect();
    const folder = mkdtempSync(join(runFolder(), "bank-"));
    const page = "docs/banks.md";
    writeFileSync(join(folder, "bank.mjs"), blocksOf(page, "js")[0] as string);
    const script = blocksOf(page, "sh")
      .join("\n")
      .replace("http://127.0.0.1:3000", api.url)
      .replace("PORT=4100", `PORT=${await freePort("127.0.0.1")}`);
    const stdout = await shell(script, { DATA_DIR: api.dataDir }, folder);
    for (const line of ["reported refund.completed: 204", '"payment_status":"refunded"'])
      expect(stdout).toContain(line);
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
