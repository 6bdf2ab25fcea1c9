import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import sharp from "sharp";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, connect } from "./client.ts";
import { covered } from "./covered.ts";
import {
  admin,
  CODE,
  customer,
  invited,
  type Kitchen,
  kitchen,
  mailed,
  order,
  PASSWORD,
  signIn,
} from "./world.ts";

interface Profile {
  id: string;
  email: string;
  first_name: string;
  role: string;
  version: number;
  pending_email?: string;
}

let api: Client;
let shop: Kitchen;
beforeAll(async () => {
  api = await connect();
  shop = await kitchen(api, await admin(api), [{ price: 950 }]);
});
afterAll(async () => {
  await shop?.close();
  expect([...(api?.reached ?? [])]).toEqual(expect.arrayContaining([...covered["scenario-1"]]));
});

describe("scenario 1, register", () => {
  it("a new user, after confirming with the mailed code, signs in as a customer", async () => {
    const email = `${newId()}@customers.example`;
    const body = { email, password: PASSWORD, first_name: "Zoë", last_name: "Nguyễn-O’Brien" };
    await api.ok("POST /users", { body });
    expect(await api.refused("POST /sessions", { body: { email, password: PASSWORD } })).toEqual({
      status: 403,
      code: "email_not_confirmed",
    });
    const first = await mailed(api, email, CODE);
    await api.ok("POST /users/confirm/resend", { body: { email } });
    const code = await eventually(async () => {
      const newest = await mailed(api, email, CODE);
      expect(newest).not.toBe(first);
      return newest;
    });
    const wrong = code === "000000" ? "000001" : "000000";
    expect(await api.refused("POST /users/confirm", { body: { email, code: wrong } })).toMatchObject({
      code: "code_invalid",
    });
    await api.ok("POST /users/confirm", { body: { email, code } });
    const { access_token: token } = await signIn(api, email);
    expect(await api.ok<Profile>("GET /me", { token })).toMatchObject({
      email,
      role: "customer",
      first_name: "Zoë",
    });
  });

  it("an unknown address gets the same response as a registered one", async () => {
    const body = { email: `${newId()}@nobody.example` };
    expect((await api.request("POST /users/confirm/resend", { body })).status).toBe(204);
    expect((await api.request("POST /password/forgot", { body })).status).toBe(204);
    expect(await api.refused("POST /sessions", { body: { ...body, password: PASSWORD } })).toEqual({
      status: 401,
      code: "invalid_credentials",
    });
  });

  it.each([
    ["a first name with markup", { first_name: "<b>Ada</b>" }, "first_name"],
    ["a first name that turns the direction of the text", { first_name: "Ada\u202e" }, "first_name"],
    ["a name of spaces", { last_name: "   " }, "last_name"],
    ["a phone number without its country", { phone: "015112345678" }, "phone"],
    ["a birth date to come", { birth_date: "2990-01-01" }, "birth_date"],
    ["a birth date that never was", { birth_date: "1999-02-30" }, "birth_date"],
    ["a short password", { password: "short" }, "password"],
    ["a role", { role: "admin" }, "role"],
  ])("%s is refused with the name of the field", async (_, change, field) => {
    const body = {
      email: `${newId()}@customers.example`,
      password: PASSWORD,
      first_name: "Ada",
      last_name: "Lovelace",
      ...change,
    };
    const answer = await api.request<{ errors: { field: string }[] }>("POST /users", { body });
    expect(answer.status).toBe(422);
    expect(answer.body.errors.map((error) => error.field)).toContain(field);
  });

  it.each([
    ["'t Hooft", "Gerard"],
    ["J. R. R.", "Tolkien"],
    ["Martin Luther", "King Jr."],
    ["李小龙", undefined],
    ["Sukarno", ""],
  ])("a user named %s %s signs up and orders, and the order has that name", async (name, last_name) => {
    const me = await customer(api, { name, last_name });
    const profile = await api.ok<Profile>("GET /me", me);
    expect(profile).toMatchObject({ first_name: name, last_name: last_name ?? "" });
    const { order_id } = await order(api, me, shop);
    const { customer: buyer } = await api.ok<{ customer: { name: string } }>(`GET /orders/${order_id}`, me);
    expect(buyer.name).toBe([name, last_name].filter(Boolean).join(" "));
  });

  it.each([
    ["es-419", "es-419"],
    ["zh-hant", "zh-Hant"],
    ["SR-latn-rs", "sr-Latn-RS"],
  ])("the language %s, as browsers send it, is stored as %s in profile and device", async (sent, kept) => {
    const me = await customer(api, { language: sent });
    expect(await api.ok("GET /me", me)).toMatchObject({ language: kept });
    expect(await api.ok("PATCH /me", { ...me, body: { language: sent } })).toMatchObject({ language: kept });
    const device = { provider: "sandbox", token: `phone-${newId()}`, language: sent };
    expect(await api.ok("POST /me/devices", { ...me, body: device, key: newId() })).toMatchObject({
      language: kept,
    });
    const wrong = await api.refused("PATCH /me", { ...me, body: { language: "x-private" } });
    expect(wrong).toEqual({ status: 422, code: "validation_error" });
  });

  it("refresh tokens rotate, and a reused one ends the session", async () => {
    const { refreshToken } = await customer(api);
    const refresh = (token: string) =>
      api.request<{ access_token: string; refresh_token: string }>("POST /sessions/refresh", {
        body: { refresh_token: token },
      });
    const second = (await refresh(refreshToken)).body;
    const third = (await refresh(second.refresh_token)).body;
    expect((await refresh(refreshToken)).status).toBe(401);
    expect((await refresh(third.refresh_token)).status).toBe(401);
    await eventually(async () =>
      expect((await api.request("GET /me", { token: third.access_token })).status).toBe(401),
    );
  });

  it("sessions are listed and end one by one, this one, or all", async () => {
    const me = await customer(api);
    const other = await signIn(api, me.email);
    const { items } = await api.ok<{ items: { id: string; current: boolean }[] }>("GET /sessions", me);
    expect(items.map(({ current }) => current).sort()).toEqual([false, true]);
    await api.ok(`DELETE /sessions/${items.find(({ current }) => !current)?.id}`, me);
    const ends = (token: string) =>
      eventually(async () => expect((await api.request("GET /me", { token })).status).toBe(401));
    await ends(other.access_token);
    const third = await signIn(api, me.email);
    await api.ok("DELETE /sessions/current", { token: third.access_token });
    await ends(third.access_token);
    await api.ok("DELETE /sessions", me);
    await ends(me.token);
  });

  it("the profile changes only with the present version, and a new address only after its code", async () => {
    const me = await customer(api);
    const read = await api.request<Profile>("GET /me", me);
    const etag = read.headers.get("etag") as string;
    expect((await api.request("GET /me", { ...me, headers: { "If-None-Match": etag } })).status).toBe(304);
    const change = (body: object, ifMatch: string) =>
      api.request<Profile>("PATCH /me", { ...me, body, headers: { "If-Match": ifMatch } });
    expect((await change({ first_name: "Ada" }, etag)).body).toMatchObject({ first_name: "Ada" });
    expect((await change({ first_name: "Eve" }, etag)).status).toBe(412);
    const email = `${newId()}@customers.example`;
    expect(await api.refused("PATCH /me", { ...me, body: { email } })).toMatchObject({ status: 422 });
    const body = { email, current_password: PASSWORD };
    expect(await api.ok<Profile>("PATCH /me", { ...me, body })).toMatchObject({
      pending_email: email,
    });
    const code = await mailed(api, email, CODE);
    expect(await api.ok<Profile>("POST /me/email/confirm", { ...me, body: { code } })).toMatchObject({
      email,
    });
    await signIn(api, email);

    const [, link = "", token = ""] =
      /^(.*)#(.*)$/.exec(await mailed(api, me.email, /(\S+\/email\/undo#\S+)/)) ?? [];
    const page = await fetch(link);
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    expect((await fetch(`${link}/page.js`)).status).toBe(200);
    await signIn(api, email); // a look at the page undoes nothing
    await api.ok("POST /email/undo", { body: { token } });
    expect((await signIn(api, me.email)).access_token).toBeDefined();
    expect(await api.refused("POST /email/undo", { body: { token } })).toEqual({
      status: 422,
      code: "code_invalid",
    });
  });

  it("a forgotten password is reset by a mailed code, a known one is changed with the current one", async () => {
    const me = await customer(api);
    const before = await mailed(api, me.email, CODE);
    await api.ok("POST /password/forgot", { body: { email: me.email } });
    const code = await eventually(async () => {
      const newest = await mailed(api, me.email, CODE);
      expect(newest).not.toBe(before);
      return newest;
    });
    const body = { email: me.email, code, password: "another horse, another battery" };
    expect(
      await api.refused("POST /password/reset", { body: { ...body, password: "password123" } }),
    ).toMatchObject({
      code: "password_too_common",
    });
    await api.ok("POST /password/reset", { body });
    const { access_token: token } = await signIn(api, me.email, body.password);
    const change = { current_password: body.password, new_password: "a third horse in the stable" };
    await api.ok("PUT /me/password", { token, body: change });
    expect(await api.refused("PUT /me/password", { token, body: change })).toMatchObject({ status: 401 });
    await signIn(api, me.email, change.new_password);
  });

  it("an avatar is re-encoded, read and deleted", async () => {
    const me = await customer(api);
    const image = await sharp({ create: { width: 40, height: 30, channels: 3, background: "teal" } })
      .png()
      .toBuffer();
    expect((await api.request("GET /me/avatar", me)).status).toBe(404);
    await api.ok("PUT /me/avatar", { ...me, image });
    const { headers, bytes } = await api.request("GET /me/avatar", me);
    expect(headers.get("content-type")).toMatch(/^image\//);
    expect(await sharp(bytes).metadata()).toMatchObject({ width: expect.any(Number) });
    const etag = headers.get("etag") as string;
    expect((await api.request("GET /me/avatar", { ...me, headers: { "If-None-Match": etag } })).status).toBe(
      304,
    );
    const script = Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'/>");
    expect([415, 422]).toContain((await api.request("PUT /me/avatar", { ...me, image: script })).status);
    await api.ok("DELETE /me/avatar", me);
    expect((await api.request("GET /me/avatar", me)).status).toBe(404);
  });

  it("a role is granted by an invitation only, which works once", async () => {
    const root = await admin(api);
    const courier = await invited(api, root, { role: "deliverer" });
    expect(await api.ok<Profile>("GET /me", courier)).toMatchObject({ role: "deliverer" });
    const me = await customer(api);
    expect(
      await api.refused("POST /invitations", {
        ...me,
        body: { email: me.email, role: "admin" },
        key: newId(),
      }),
    ).toEqual({ status: 403, code: "forbidden" });
    const body = { token: "x".repeat(40), password: PASSWORD, first_name: "Eve", last_name: "Mallory" };
    expect(await api.refused("POST /invitations/accept", { body })).toMatchObject({
      code: "invitation_invalid",
    });
  });

  it("a user exports the data, deletes the account, and is erased", async () => {
    const me = await customer(api);
    const { profile } = await api.ok<{ profile: Profile }>("GET /me/export", me);
    expect(profile).toMatchObject({ id: me.id, email: me.email });
    const begun = await api.request<{ state: string }>("POST /me/export", { ...me, key: newId() });
    expect(begun.status).toBe(202);
    await eventually(async () =>
      expect(await api.ok("GET /me/export/status", me)).toMatchObject({ state: "ready" }),
    );
    const file = await api.ok<{ notifications: unknown[] }>("GET /me/export/file", me);
    expect(file).toMatchObject({ profile: { id: me.id }, orders: [] });
    expect(file.notifications).toEqual([expect.objectContaining({ event: "confirm-email" })]);
    expect(await api.refused("DELETE /me", { ...me, body: { password: "not my password" } })).toMatchObject({
      status: 401,
    });
    await api.ok("DELETE /me", { ...me, body: { password: me.password } });
    expect(
      await api.refused("POST /sessions", { body: { email: me.email, password: me.password } }),
    ).toMatchObject({
      status: 401,
    });
  });
});
