import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { platform, type TestPlatform } from "../support/platform.ts";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../..");
const TIMEOUT_MS = 60_000;

/** A front app as its developers would write it. */
const app = (url: string) => `
import { answered, ApiError, type Schemas, waybill } from "@waybill/client";

const api = waybill({ url: ${JSON.stringify(url)} });
await api.signIn({ email: "carla@sandbox.example", password: "carla-likes-pretzels" });
const { items } = await answered(api.GET("/products", { params: { query: { limit: 3 } } }));
const titles: string[] = items.map(({ title }: Schemas["Offer"]) => title);
const me = await answered(api.GET("/me"));
const params = { path: { order_id: "01900000-0000-7000-8000-000000000000" } };
const refusal = await api.POST("/orders/{order_id}/cancel", { params, body: { reason: "No." } }).then(
  () => "none",
  (error: unknown) => (error instanceof ApiError ? error.code : "other"),
);
console.log(JSON.stringify({ titles: titles.length, name: me.first_name, refusal }));
`;

const wrong = [
  'await api.GET("/nothing");',
  'await api.POST("/orders/check", { body: { partner_id: "x" } });',
  "const price: string = items[0]!.price;",
];

const compilerOptions = {
  target: "es2024",
  lib: ["es2024", "dom"],
  module: "esnext",
  moduleResolution: "bundler",
  strict: true,
  types: [],
};

let places: TestPlatform;
let dir: string;

beforeAll(async () => {
  places = await platform();
  dir = mkdtempSync(join(tmpdir(), "waybill-client-"));
  const installed = join(dir, "node_modules/@waybill/client");
  mkdirSync(installed, { recursive: true });
  const { stdout } = await run("npm", ["pack", join(root, "client"), "--silent"], { cwd: dir });
  await run("tar", [
    "-xzf",
    join(dir, stdout.trim().split("\n").at(-1) as string),
    "-C",
    installed,
    "--strip=1",
  ]);
  for (const name of ["openapi-fetch", "openapi-typescript-helpers"]) {
    symlinkSync(join(root, "node_modules", name), join(dir, "node_modules", name));
  }
  writeFileSync(join(dir, "package.json"), JSON.stringify({ type: "module" }));
  writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["app.ts"] }));
}, TIMEOUT_MS);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const compile = () => run(join(root, "node_modules/.bin/tsc"), ["-p", dir]);

describe("the client as a package", () => {
  it(
    "packed and installed, compiles in a front app and speaks to the platform",
    async () => {
      writeFileSync(join(dir, "app.ts"), app(places.url));
      await compile();
      const { stdout } = await run(process.execPath, [join(dir, "app.js")]);
      expect(JSON.parse(stdout)).toEqual({ titles: 3, name: "Carla", refusal: "not_found" });
    },
    TIMEOUT_MS,
  );

  it.each(wrong)("does not compile %s", async (line) => {
    writeFileSync(join(dir, "app.ts"), `${app(places.url)}\n${line}\n`);
    await expect(compile()).rejects.toMatchObject({ stdout: expect.stringContaining("error TS") });
  });
});
