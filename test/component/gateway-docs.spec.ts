import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { errorCatalogue } from "../../contracts/errors.ts";
import { routes } from "../../services/api/routes/index.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());

const get = (path: string, init: RequestInit = {}) => fetch(gateway.url + path, init);

describe("documentation", () => {
  it.each([["/docs/"], ["/docs/index.html"]])(
    "at %s, is Swagger UI with scripts of its own origin only",
    async (path) => {
      const response = await get(path);
      const html = await response.text();
      expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
      expect(response.headers.get("content-security-policy")).toContain("script-src 'self'");
      const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link as string);
      expect(links).toHaveLength(4);
      for (const link of links) {
        const asset = await get(new URL(link, "http://x/docs/").pathname);
        expect({ link, status: asset.status }).toEqual({ link, status: 200 });
        expect((await asset.arrayBuffer()).byteLength).toBeGreaterThan(100);
      }
      expect(html).not.toMatch(/<script>|https?:/);
    },
  );

  it.each([["/"], ["/docs"]])("requested at %s, is at /docs/", async (path) => {
    const response = await get(path, { redirect: "manual" });
    expect([response.status, response.headers.get("location")]).toEqual([302, "/docs/"]);
  });

  it.each([
    ["/docs/package.json"],
    ["/docs/swagger-ui.js.map"],
    ["/docs/..%2fpackage.json"],
    ["/docs/%2e%2e/x"],
  ])("at %s, which no page needs, does not exist", async (path) => {
    expect((await get(path)).status).toBe(404);
  });

  it("of the errors, explains each code at the address that its problem document contains", async () => {
    const page = await (await get("/docs/errors")).text();
    for (const type of Object.keys(errorCatalogue)) expect(page).toContain(`<tr id="${type.toLowerCase()}">`);
  });

  it("at /openapi.json, is the document that the page shows", async () => {
    const response = await get("/openapi.json");
    expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(await response.json()).toMatchObject({ openapi: "3.1.0", servers: [{ url: "/api/v1" }] });
    expect(await (await get("/docs/start.js")).text()).toContain('url: "/openapi.json"');
  });

  it.each([
    ...["/email/confirm", "/password/forgot", "/password/reset", "/invitations/accept", "/email/undo"],
    "/track",
  ])("at %s, to which mails link, is in the reader's language and runs its own script only", async (path) => {
    const titles = new Set<string>();
    for (const [header, language] of [
      ["de-AT,de;q=0.9,en;q=0.8", "de"],
      ["fr, tg;q=0.2, ru;q=0.7", "ru"],
      ["tg-TJ", "tg"],
      ["fr", "en"],
      ["q=;,;;,de;q=x,*;q=1", "en"],
    ] as const) {
      const response = await get(path, { headers: { "accept-language": header } });
      const html = await response.text();
      expect([header, response.status, /lang="(..)"/.exec(html)?.[1]]).toEqual([header, 200, language]);
      expect(response.headers.get("vary")).toContain("Accept-Language");
      expect(response.headers.get("content-security-policy")).toContain("script-src 'self'");
      expect(html).not.toMatch(/undefined|<script>/);
      titles.add(/<title>(.*)<\/title>/.exec(html)?.[1] ?? "");
    }
    expect(titles.size).toBe(4);
    const call = /data-call="\/api\/v1(.*?)"/.exec(await (await get(path)).text())?.[1] ?? "";
    const called = call === "/track/" ? "GET /track/{token}" : `POST ${call}`;
    expect(routes.map(({ method, path: of }) => `${method} ${of}`)).toContain(called);
    expect((await get(`${path}/page.js`)).headers.get("content-type")).toBe("text/javascript; charset=utf-8");
  });
});
