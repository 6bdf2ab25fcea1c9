import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { codeBlocks, type Project, projectWith } from "../support/installed-package.ts";
import { platform, type TestPlatform } from "../support/platform.ts";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../..");
const TIMEOUT_MS = 300_000;

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

/** The names that the README's examples take from the app around them. */
const around = `
import { answered, ApiError, waybill } from "@waybill/client";
declare const url: string, order_id: string, signal: AbortSignal;
declare function showTooLate(): void;
declare function showState(state: string): void;
declare const partner_id: string;
declare function readList(): Promise<void>;
declare function changeList(orderId: string): void;
declare function showCourier(latitude: number, longitude: number): void;
`;

// A front app's compiler knows the browser and nothing of Node.
const compilerOptions = {
  lib: ["es2024", "dom"],
  module: "esnext",
  moduleResolution: "bundler",
  types: [],
  skipLibCheck: false,
};

let places: TestPlatform;
let project: Project;

beforeAll(async () => {
  places = await platform();
  const [commands = ""] = codeBlocks("packages/client/README.md", "sh");
  const [pack = "", install = ""] = commands.trim().split("\n");
  const { stdout } = await run("sh", ["-c", pack], { cwd: root });
  const tarball = stdout.trim().split("\n").at(-1) ?? "";
  // The README's second line installs what its first one has made.
  expect(install).toBe(`npm install ./waybill/${tarball.slice(root.length + 1)}`);
  project = projectWith(tarball, { compilerOptions });
}, TIMEOUT_MS);
afterAll(() => project?.remove());

describe("the client as a package", () => {
  it(
    "packed and installed as its README says, compiles in a web app and calls the platform",
    async () => {
      project.write("app.ts", app(places.url));
      await project.compile("app.ts");
      expect(JSON.parse(await project.run("app.js"))).toEqual({
        titles: 3,
        name: "Carla",
        refusal: "not_found",
      });
    },
    TIMEOUT_MS,
  );

  it("has examples in its README that compile", async () => {
    const examples = codeBlocks("packages/client/README.md", "ts");
    expect(examples).toHaveLength(4);
    const files = examples.map((code, index) => {
      const name = `example-${index}.ts`;
      const needsApi = !code.includes("const api =");
      const api = needsApi ? "const api = waybill({ url });\n" : "";
      project.write(name, `${around}${api}${code.replace(/^import .*\n/m, "")}\nexport {};\n`);
      return name;
    });
    await project.compile(...files);
  });

  it.each(wrong)("does not compile %s", async (line) => {
    project.write("app.ts", `${app(places.url)}\n${line}\n`);
    await expect(project.compile("app.ts")).rejects.toMatchObject({
      stdout: expect.stringContaining("error TS"),
    });
  });
});
