import { afterEach, describe, expect, it } from "@jest/globals";
import { startGateway, type TestGateway } from "../support/gateway.ts";

let gateway: TestGateway | undefined;
afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
});

async function statuses(count: number, send: () => Promise<Response>): Promise<number[]> {
  const seen: number[] = [];
  for (let index = 0; index < count; index++) seen.push((await send()).status);
  return seen;
}

describe("limits of the gateway", () => {
  it("of one user, hold for that user on every operation and for nobody else", async () => {
    gateway = await startGateway({ RATE_LIMIT_USER: 2 });
    const { url, identity } = gateway;
    const [one, other] = [await identity.token(), await identity.token()];
    const get = (token: string, path: string) =>
      fetch(`${url}/api/v1${path}`, { headers: { Authorization: `Bearer ${token}` } });
    expect(await statuses(2, () => get(one, "/me"))).toEqual([200, 200]);
    const refused = await get(one, "/orders");
    expect(refused.status).toBe(429);
    expect(refused.headers.get("ratelimit")).toMatch(/"address";r=\d+;t=\d+, "user";r=0;t=\d+/);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await get(other, "/orders")).status).toBe(200);
  });

  it("of sign-in, are stricter, and are counted before a body is read", async () => {
    gateway = await startGateway({ RATE_LIMIT_SIGN_IN: 2 });
    const { url } = gateway;
    const signIn = () => fetch(`${url}/api/v1/sessions`, { method: "POST", body: "{" });
    expect(await statuses(3, signIn)).toEqual([415, 415, 429]);
    expect((await fetch(`${url}/api/v1/track/abc`)).status).toBe(200);
  });

  it("of one address, hold for paths that there are not as well", async () => {
    gateway = await startGateway({ RATE_LIMIT_ADDRESS: 2 });
    const { url } = gateway;
    expect(await statuses(3, () => fetch(`${url}/nothing`))).toEqual([404, 404, 429]);
    expect((await fetch(`${url}/docs/`)).status).toBe(429);
  });

  it("with X-Forwarded-For from whoever is no proxy of ours, are not fooled", async () => {
    gateway = await startGateway({ RATE_LIMIT_ADDRESS: 1 });
    const { url } = gateway;
    let hop = 0;
    const send = () => fetch(`${url}/nothing`, { headers: { "X-Forwarded-For": `1.1.1.${hop++}` } });
    expect(await statuses(2, send)).toEqual([404, 429]);
  });

  it("behind a proxy of ours, are those of the client that it names", async () => {
    gateway = await startGateway({ RATE_LIMIT_ADDRESS: 1, TRUSTED_PROXIES: "127.0.0.0/8" });
    const { url } = gateway;
    let hop = 0;
    const send = () => fetch(`${url}/nothing`, { headers: { "X-Forwarded-For": `1.1.1.${hop++}` } });
    expect(await statuses(2, send)).toEqual([404, 404]);
  });
});
