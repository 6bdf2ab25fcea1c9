/**
 * `npm run test:clients` generates clients of a running platform by other people's generators, in three languages. A
 * program with each of them signs in, reads and changes the profile, uploads a photo and reads it, lists products,
 * orders, and follows the order. It fails when one cannot be generated, does not build, or is answered otherwise.
 *   npm run test:clients                     all of them
 *   npm run test:clients -- go               those whose name holds this word
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual, promisify } from "node:util";
import sharp from "sharp";
import { connect } from "../e2e/client.ts";
import { admin, customer, home, kitchen } from "../e2e/world.ts";
import { startPlatform } from "../support/platform.ts";
import { type Generator, generators } from "./generators.ts";

const START_TIMEOUT_MS = 120_000;
const PROGRAM_TIMEOUT_MS = 120_000;
const PHOTO_PIXELS = 600;
/** Names that a pattern of an answer has refused. */
const FIRST_NAME = "'t Hooft";
const NEW_NAME = "李小龙";

const word = process.argv[2] ?? "";
const chosen = generators.filter(({ name }) => name.toLowerCase().includes(word.toLowerCase()));
const folder = mkdtempSync(join(tmpdir(), "waybill-clients-"));
const say = (line: string) => process.stdout.write(`${line}\n`);

const platform = await startPlatform(join(folder, "data"), {}, { timeoutMs: START_TIMEOUT_MS });
try {
  const api = await connect(async () => platform);
  const shop = await kitchen(api, await admin(api), [{ price: 950 }]);
  const document = join(folder, "openapi.json");
  writeFileSync(document, await (await fetch(`${api.url}/openapi.json`)).text());
  const photo = join(folder, "photo.jpg");
  const background = { r: 200, g: 30, b: 30 };
  await sharp({ create: { width: PHOTO_PIXELS, height: PHOTO_PIXELS, channels: 3, background } })
    .jpeg()
    .toFile(photo);

  const tried = async ({ name, build }: Generator, index: number) => {
    const place = join(folder, String(index));
    mkdirSync(place);
    const [command = "", ...words] = await build(document, place);
    const me = await customer(api, { name: FIRST_NAME, last_name: "" });
    const { email, password } = me;
    const task = { api: `${api.url}/api/v1`, email, password, photo, new_name: NEW_NAME };
    const env = {
      ...process.env,
      TASK: JSON.stringify({ ...task, partner_id: shop.partnerId, address: home }),
    };
    const options = { cwd: place, env, timeout: PROGRAM_TIMEOUT_MS };
    const { stdout } = await promisify(execFile)(command, words, options);
    const { order_id, ...said } = JSON.parse(stdout) as { order_id: string };
    const wanted = { first_name: FIRST_NAME, buyer: NEW_NAME, avatar: "RIFF", event: "event: order" };
    if (!isDeepStrictEqual(said, wanted)) throw new Error(`it said ${stdout}`);
    const token = me.token;
    const order = await api.ok<{ status: string }>(`GET /orders/${order_id}`, { token });
    if (order.status !== "pending") throw new Error(`the order is ${order.status}`);
    const { language } = await api.ok<{ language: string }>("GET /me", { token });
    if (language !== "zh-Hant") throw new Error(`the language is ${language}`);
    say(`ok      ${name}`);
  };
  for (const [index, generator] of chosen.entries()) {
    await tried(generator, index).catch((error: Error & { stderr?: string }) => {
      say(`FAILED  ${generator.name} (it needs ${generator.needs})\n${error.message}\n${error.stderr ?? ""}`);
      process.exitCode = 1;
    });
  }
  if (chosen.length === 0) throw new Error(`there is no generator called ${word}`);
  await shop.close();
} finally {
  // The platform is a process of its own, and nothing else would keep this one until that has ended.
  const waiting = setInterval(() => undefined, 1_000);
  await platform.end("SIGTERM");
  clearInterval(waiting);
  if (process.exitCode) say(`What was generated is in ${folder}`);
  else rmSync(folder, { recursive: true, force: true });
}
