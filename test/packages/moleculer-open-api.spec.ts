import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Validator } from "@seriousme/openapi-schema-validator";
import { pack } from "../../packages/pack.ts";
import { codeBlocks, type Project, projectWith, type Started } from "../support/installed-package.ts";

const TIMEOUT_MS = 300_000;
const LISTENING = /listening on http:\/\/[^:]+:(\d+)/;

interface Document {
  paths: Record<string, Record<string, { requestBody?: { content: Record<string, { example: unknown }> } }>>;
}

let project: Project;
let server: Started;
let url: string;

beforeAll(async () => {
  const [code = ""] = codeBlocks("packages/moleculer-open-api/README.md", "ts");
  project = projectWith(pack("moleculer-open-api"));
  project.write("server.ts", code);
  await project.compile("server.ts");
  server = await project.start("server.js", LISTENING, { PORT: "0" });
  url = `http://127.0.0.1:${server.match[1]}`;
}, TIMEOUT_MS);
afterAll(async () => {
  await server?.stop();
  project?.remove();
});

describe("moleculer-open-api, packed and installed, with the code of its README", () => {
  it("serves a valid OpenAPI 3.1 document of the routes", async () => {
    const response = await fetch(`${url}/openapi/openapi.json`);
    expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
    const document = await response.json();
    const { valid, errors } = await new Validator().validate(structuredClone(document) as never);
    expect({ valid, errors }).toEqual({ valid: true, errors: undefined });
    expect(document).toMatchObject({
      openapi: "3.1.0",
      info: { title: "Posts", version: "1.0.0" },
      paths: {
        "/api/posts": {
          get: { parameters: [{ in: "query", name: "limit", required: false, schema: { maximum: 100 } }] },
          post: { summary: "Writes a post", tags: ["posts"] },
        },
      },
    });
    expect(Object.keys((document as Document).paths)).toEqual(["/api/posts"]);
  });

  it("shows an example that the service accepts", async () => {
    const document = (await (await fetch(`${url}/openapi/openapi.json`)).json()) as Document;
    const { example } = document.paths["/api/posts"]?.post?.requestBody?.content["application/json"] ?? {};
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${url}/api/posts`, {
      method: "POST",
      headers,
      body: JSON.stringify(example),
    });
    expect({ status: response.status, body: await response.json() }).toEqual({
      status: 200,
      body: { id: expect.any(String) },
    });
  });

  it("serves Swagger UI with every file that its page loads", async () => {
    // Without the slash, it redirects.
    const response = await fetch(`${url}/openapi`);
    expect(response.url).toBe(`${url}/openapi/`);
    expect(response.headers.get("content-security-policy")).toContain("script-src 'self'");
    const html = await response.text();
    expect(html).toContain("<title>Posts</title>");
    const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = ""]) => link);
    expect(links).toHaveLength(4);
    for (const link of links) {
      const file = await fetch(new URL(link, response.url));
      expect({ link, status: file.status }).toEqual({ link, status: 200 });
      expect((await file.arrayBuffer()).byteLength).toBeGreaterThan(100);
    }
    const start = await (await fetch(new URL("start.js", response.url))).text();
    const [, documentUrl = ""] = /url: "([^"]+)"/.exec(start) ?? [];
    expect((await fetch(new URL(documentUrl, response.url))).status).toBe(200);
  });
});
