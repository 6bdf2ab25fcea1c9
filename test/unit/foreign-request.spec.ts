import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { foreignHeader } from "../../lib/net/foreign-request.ts";
import { newRoutes, serve, type WebServer } from "../../sandbox/web.ts";

describe("a request to a listener that trusts all clients of this machine", () => {
  it.each([
    [{ host: "127.0.0.1:3001" }],
    [{ host: "10.1.2.3:3001" }],
    [{ host: "[::1]:3002" }],
    [{ host: "[fd00::1]" }],
    [{ host: "localhost" }],
    [{ host: "LOCALHOST:3002" }],
    [{}],
    [{ host: "ops.example.org" }],
    [{ host: "Sandbox.example.org:8443" }],
    [{ host: "127.0.0.1:3002", origin: "http://127.0.0.1:3002" }],
    [{ host: "ops.example.org", origin: "https://ops.example.org" }],
  ])("with %j is accepted", (headers) => {
    expect(foreignHeader(headers, "ops.example.org, sandbox.example.org")).toBeUndefined();
  });

  it.each([
    ["Host", { host: "attacker.example" }],
    ["Host", { host: "attacker.example:3001" }],
    ["Host", { host: "127.0.0.1.attacker.example:3002" }],
    ["Host", { host: "localhost.attacker.example" }],
    ["Host", { host: "localhost:3002@attacker.example" }],
    ["Host", { host: "notops.example.org" }],
    ["Host", { host: "" }],
    ["Host", { host: "attacker.example:3002", origin: "http://attacker.example:3002" }],
    ["Origin", { host: "127.0.0.1:3002", origin: "https://attacker.example" }],
    ["Origin", { host: "127.0.0.1:3002", origin: "http://127.0.0.1:3000" }],
    ["Origin", { host: "127.0.0.1:3002", origin: "http://localhost:3002" }],
    ["Origin", { host: "127.0.0.1:3002", origin: "null" }],
    ["Origin", { origin: "http://127.0.0.1" }],
  ] as const)("is refused for its %s: %j", (header, headers) => {
    expect(foreignHeader(headers, "ops.example.org")).toBe(header);
  });
});

describe("the sandbox's pages", () => {
  let web: WebServer;
  let pressed = 0;
  beforeAll(async () => {
    const routes = newRoutes()
      .get("/", (c) => c.text("a page"))
      .post("/", (c) => {
        pressed += 1;
        return c.redirect("/", 303);
      });
    web = await serve(routes, { host: "127.0.0.1", port: 0, allowedHosts: "sandbox.example" });
  });
  afterAll(() => web.stop());

  const status = (method: string, headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) => {
      request(web.url, { method, headers }, (response) => resolve(response.resume().statusCode ?? 0))
        .on("error", reject)
        .end();
    });

  it("are not served under another name, which another site's page could use", async () => {
    expect(await status("GET", { host: "rebound.example" })).toBe(403);
    expect(await status("GET", { host: "sandbox.example" })).toBe(200);
    expect(await status("GET", {})).toBe(200);
  });

  it("accept no form of another site", async () => {
    expect(await status("POST", { origin: "https://elsewhere.example" })).toBe(403);
    expect(pressed).toBe(0);
    expect(await status("POST", { origin: web.url })).toBe(303);
    expect(pressed).toBe(1);
  });
});
