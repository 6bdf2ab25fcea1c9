import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { answered, type SessionTokens, waybill } from "@waybill/client";
import { newId } from "../../lib/ids.ts";
import { type ClientServer, clientServer, json, lost } from "../support/client-server.ts";
import { eventually } from "../support/eventually.ts";

let server: ClientServer;
beforeAll(async () => {
  server = await clientServer();
});
afterAll(() => server.close());
beforeEach(() => {
  server.seen.length = 0;
  server.planned.length = 0;
});

const operations = () => server.seen.map(({ operation }) => operation);
const busy = (seconds: string) => json(503, { code: "service_unavailable" }, { "Retry-After": seconds });

describe("two typed clients with the same stored tokens", () => {
  const endsSoon = (refreshToken: string): SessionTokens => ({
    accessToken: `of ${refreshToken}`,
    refreshToken,
    endsAtMs: Date.now(),
  });
  const exchanged = (access_token: string, refresh_token: string) =>
    json(200, { access_token, refresh_token, expires_in_seconds: 600, token_type: "Bearer" });
  const used = () =>
    server.seen
      .filter(({ operation }) => operation === "POST /sessions/refresh")
      .map(({ body }) => (JSON.parse(body) as { refresh_token: string }).refresh_token);
  const sent = () => server.seen.map(({ headers }) => headers.authorization).filter(Boolean);

  it("exchange the refresh token once, concurrently and one after the other", async () => {
    const mark = newId();
    const [first, second, third] = [0, 1, 2].map(() => waybill({ url: server.url }));
    const tokens = endsSoon(`r0 ${mark}`);
    for (const api of [first, second, third]) api?.signedInWith(tokens);
    const told: string[] = [];
    second?.onTokens(({ refreshToken }) => told.push(refreshToken));
    server.planned.push(exchanged("a1", `r1 ${mark}`));
    await Promise.all([first?.GET("/banks"), second?.GET("/banks")]);
    expect(used()).toEqual([`r0 ${mark}`]);
    expect(sent()).toEqual(["Bearer a1", "Bearer a1"]);
    expect(told).toEqual([`r1 ${mark}`]);

    server.planned.push(exchanged("a2", `r2 ${mark}`));
    first?.signedInWith(endsSoon(`r1 ${mark}`));
    await first?.GET("/banks");
    // Two exchanges behind: its own refresh token would end the session for all of them.
    await third?.GET("/banks");
    expect(used()).toEqual([`r0 ${mark}`, `r1 ${mark}`]);
    expect(sent().slice(2)).toEqual(["Bearer a2", "Bearer a2"]);
  });

  it("use tokens that another program has stored meanwhile", async () => {
    const mark = newId();
    let kept = endsSoon(`r0 ${mark}`);
    const api = waybill({ url: server.url, kept: () => kept });
    api.signedInWith(kept);
    kept = { accessToken: "a9", refreshToken: `r9 ${mark}`, endsAtMs: Date.now() + 600_000 };
    await api.GET("/banks");
    expect(used()).toEqual([]);
    expect(sent()).toEqual(["Bearer a9"]);
  });

  it("after a faster exchange by the other, use its tokens", async () => {
    const mark = newId();
    let kept = endsSoon(`r0 ${mark}`);
    const api = waybill({ url: server.url, kept: () => kept });
    api.signedInWith(kept);
    server.planned.push((response, seen) => {
      kept = { accessToken: "a7", refreshToken: `r7 ${mark}`, endsAtMs: Date.now() + 600_000 };
      json(401, { code: "session_revoked" })(response, seen);
    });
    await api.GET("/banks");
    expect(sent()).toEqual(["Bearer a7"]);
  });

  it("of a session that has ended, are refused", async () => {
    const api = waybill({ url: server.url });
    api.signedInWith(endsSoon(newId()));
    server.planned.push(json(401, { code: "session_revoked" }));
    await expect(api.GET("/banks")).rejects.toMatchObject({ status: 401, code: "session_revoked" });
  });

  it("repeat an exchange without an answer, within the grace period of the token", async () => {
    const api = waybill({ url: server.url });
    const tokens = endsSoon(newId());
    api.signedInWith(tokens);
    server.planned.push(lost, exchanged("a1", newId()));
    await api.GET("/banks");
    expect(used()).toEqual([tokens.refreshToken, tokens.refreshToken]);
    expect(sent()).toEqual(["Bearer a1"]);
  });
});

describe("the typed client, aborted by its caller,", () => {
  it("during the wait before a retry, rejects at once and repeats nothing", async () => {
    server.planned.push(busy("10"));
    const ending = new AbortController();
    const asking = waybill({ url: server.url }).GET("/products", { signal: ending.signal });
    await eventually(() => expect(server.seen).toHaveLength(1));
    ending.abort(new Error("left the page"));
    await expect(asking).rejects.toThrow("left the page");
    expect(server.seen).toHaveLength(1);
  });

  it("during an exchange of tokens, rejects at once and lets the exchange end for the others", async () => {
    const api = waybill({ url: server.url });
    api.signedInWith({ accessToken: "a0", refreshToken: newId(), endsAtMs: Date.now() });
    const { promise: begun, resolve: begin } = Promise.withResolvers<() => void>();
    server.planned.push((response, seen) =>
      begin(() =>
        json(200, { access_token: "a1", refresh_token: newId(), expires_in_seconds: 600 })(response, seen),
      ),
    );
    const ending = new AbortController();
    const left = api.GET("/products", { signal: ending.signal });
    const stays = api.GET("/banks");
    const answer = await begun;
    ending.abort(new Error("left the page"));
    await expect(left).rejects.toThrow("left the page");
    answer();
    await answered(stays);
    expect(operations()).toEqual(["POST /sessions/refresh", "GET /banks"]);
  });
});

describe("the typed client, without an answer to a change,", () => {
  const conditional = { params: { header: { "If-Match": '"3"' } }, body: { first_name: "Zoë" } };

  it.each([
    ["lost", lost],
    ["that it took too long", busy("0.01")],
  ])("that is conditional, %s, does not repeat it into a refusal of its own version", async (_, answer) => {
    server.planned.push(answer, json(412, { code: "precondition_failed" }));
    const changing = waybill({ url: server.url }).PATCH("/me", conditional);
    const code = await changing.then(
      () => "none",
      (error: { code: string }) => error.code,
    );
    expect(["no_answer", "service_unavailable"]).toContain(code);
    expect(operations()).toEqual(["PATCH /me"]);
  });

  it.each([
    ["is busy", json(503, { code: "overloaded" }, { "Retry-After": "0.01" })],
    ["counts too many requests", json(429, { code: "too_many_requests" }, { "Retry-After": "0.01" })],
  ])("that is conditional and was not performed since the platform %s, repeats it", async (_, answer) => {
    server.planned.push(answer, json(200, { id: newId() }));
    await waybill({ url: server.url }).PATCH("/me", conditional);
    expect(operations()).toEqual(["PATCH /me", "PATCH /me"]);
  });

  it("that ends its own access, does not repeat it; other changes, does", async () => {
    const api = waybill({ url: server.url });
    const changes: [string, () => Promise<unknown>][] = [
      [
        "PUT /me/password",
        () => api.PUT("/me/password", { body: { current_password: "a", new_password: "b" } }),
      ],
      ["DELETE /sessions/current", () => api.DELETE("/sessions/current")],
      ["DELETE /sessions", () => api.DELETE("/sessions")],
    ];
    for (const [operation, change] of changes) {
      server.seen.length = 0;
      server.planned.push(lost);
      await expect(change()).rejects.toMatchObject({ code: "no_answer" });
      expect(operations()).toEqual([operation]);
    }
    server.seen.length = 0;
    server.planned.push(lost);
    await api.PATCH("/me", { body: { first_name: "Zoë" } });
    expect(operations()).toEqual(["PATCH /me", "PATCH /me"]);
  });
});

describe("the typed client, in a runtime that has little besides fetch,", () => {
  const taken = {
    any: Object.getOwnPropertyDescriptor(AbortSignal, "any"),
    timeout: Object.getOwnPropertyDescriptor(AbortSignal, "timeout"),
    crypto: Object.getOwnPropertyDescriptor(globalThis, "crypto"),
  };
  afterEach(() => {
    Object.defineProperty(AbortSignal, "any", taken.any as PropertyDescriptor);
    Object.defineProperty(AbortSignal, "timeout", taken.timeout as PropertyDescriptor);
    Object.defineProperty(globalThis, "crypto", taken.crypto as PropertyDescriptor);
  });

  it.each([
    ["a crypto for insecure pages", { getRandomValues: crypto.getRandomValues.bind(crypto) }],
    ["no crypto at all", undefined],
  ])("with %s, makes different keys and ends at its time limit", async (_, value) => {
    for (const name of ["any", "timeout"]) {
      Object.defineProperty(AbortSignal, name, { value: undefined, configurable: true });
    }
    Object.defineProperty(globalThis, "crypto", { value, configurable: true });
    const [api, hasty] = [{}, { timeoutMs: 100 }].map((limit) =>
      waybill({ url: server.url, tries: 1, ...limit }),
    ) as [ReturnType<typeof waybill>, ReturnType<typeof waybill>];
    const confirm = () => api.POST("/orders/confirm", { body: { check_id: newId(), bank_id: newId() } });
    await Promise.all([confirm(), confirm()]);
    const keys = server.seen.map(({ headers }) => headers["idempotency-key"]);
    expect(new Set(keys).size).toBe(2);
    for (const key of keys) expect(key).toMatch(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    server.planned.push(() => undefined);
    await expect(hasty.GET("/banks")).rejects.toMatchObject({ code: "no_answer" });
  });
});
