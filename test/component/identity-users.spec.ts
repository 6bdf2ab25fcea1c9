import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type IdentityBench, newAddress, PASSWORD, startIdentity } from "../support/identity.ts";

let bench: IdentityBench;
let operator: Awaited<ReturnType<IdentityBench["admin"]>>;
beforeAll(async () => {
  bench = await startIdentity();
  operator = await bench.admin();
});
afterAll(() => bench.stop());

const refused = (type: string) => expect.objectContaining({ type });
const users = (filter: object) => bench.ask("identity.users", filter, operator.meta);
const idsOf = async (filter: object) => (await users(filter)).items.map(({ id }) => id);
const suspend = (userId: string, meta: object = operator.meta) =>
  bench.ask("identity.suspendUser", { userId, reason: "Lost phone" }, meta);
const profile = (meta: { token: string }) => bench.ask("identity.profile", {}, meta);

describe("identity.users", () => {
  it("lists by role, state, partner and words of name, address and phone number, newest first", async () => {
    const mark = `Xq${newId().slice(-8)}`;
    const partnerId = newId();
    const courier = await bench.staff("deliverer");
    const clerk = await bench.staff("partner", { partnerId });
    const ada = await bench.customer({
      firstName: "Zoë",
      lastName: `${mark}-Müller`,
      phone: "+4915198765432",
    });
    const bob = await bench.registered({ firstName: "Bob", lastName: mark });

    expect(await idsOf({ q: mark.toLowerCase() })).toEqual([bob.userId, ada.userId]);
    expect(await idsOf({ q: `zoe muller ${mark.slice(0, 6)}` })).toEqual([ada.userId]);
    expect(await idsOf({ q: `${mark} +49151987` })).toEqual([ada.userId]);
    expect(await idsOf({ q: ada.email.split("@")[0] })).toEqual([ada.userId]);
    expect(await idsOf({ q: "..." })).toEqual([]);
    expect(await idsOf({ q: mark, state: "unconfirmed" })).toEqual([bob.userId]);
    expect(await idsOf({ q: mark, state: "active" })).toEqual([ada.userId]);
    expect(await idsOf({ partnerId })).toEqual([clerk.userId]);
    expect(await idsOf({ role: "deliverer" })).toContain(courier.userId);
    expect(await idsOf({ role: "deliverer" })).not.toContain(clerk.userId);

    await suspend(ada.userId);
    expect(await idsOf({ state: "suspended", q: mark })).toEqual([ada.userId]);
    expect(await idsOf({ state: "active", q: mark })).toEqual([]);
  });

  it("gives every user once over all pages, also when one is deleted in between", async () => {
    const all = await idsOf({ limit: 100 });
    const first = await users({ limit: 2 });
    const seen = first.items.map(({ id }) => id);
    await bench.sql("DELETE FROM profiles WHERE id = $1", [seen.at(-1) as string]);
    for (let cursor = first.nextCursor; cursor; ) {
      const next = await users({ limit: 2, cursor });
      seen.push(...next.items.map(({ id }) => id));
      cursor = next.nextCursor;
    }
    expect(seen).toEqual(all);
    const cursors = [`x ${newId()}`, `1 x`, `${"1".repeat(18)} ${newId()}`, newId(), ""];
    for (const text of cursors) {
      const cursor = Buffer.from(text).toString("base64url");
      await expect(users({ cursor })).rejects.toEqual(refused("VALIDATION_ERROR"));
    }
  });

  it("of words that 10,000 users have, lists them; of words that more have, is refused", async () => {
    const word = `Xy${newId().slice(-8)}`;
    const insert = (count: number) =>
      bench.sql(
        `INSERT INTO profiles (id, email, first_name, last_name, language, role)
         SELECT gen_random_uuid(), gen_random_uuid() || '@example.org', $1, 'B', 'en', 'customer'
         FROM generate_series(1, $2)`,
        [word, count],
      );
    await insert(10_000);
    expect((await users({ q: word, limit: 1 })).items).toHaveLength(1);
    await insert(1);
    await expect(users({ q: word })).rejects.toEqual(refused("TOO_MANY_MATCHES"));
    await bench.sql("DELETE FROM profiles WHERE first_name = $1", [word]);
  });

  it("without a limit, gives 20, and a next page only if there is one", async () => {
    const partnerId = newId();
    const insert = (count: number) =>
      bench.sql(
        `INSERT INTO profiles (id, email, first_name, last_name, language, role, partner_id)
         SELECT gen_random_uuid(), gen_random_uuid() || '@example.org', 'A', 'B', 'en', 'partner', $1::uuid
         FROM generate_series(1, $2)`,
        [partnerId, count],
      );
    await insert(20);
    const all = await users({ partnerId });
    expect({ count: all.items.length, next: all.nextCursor }).toEqual({ count: 20, next: undefined });
    await insert(1);
    const first = await users({ partnerId });
    expect(first.items).toHaveLength(20);
    expect((await users({ partnerId, cursor: first.nextCursor })).items).toHaveLength(1);
  });

  it("is for admins only, as every action on other users", async () => {
    const { userId, meta } = await bench.staff("partner", { partnerId: newId(), partnerAdmin: true });
    const forbidden = refused("FORBIDDEN");
    await expect(bench.ask("identity.users", {}, meta)).rejects.toEqual(forbidden);
    await expect(bench.ask("identity.user", { userId }, meta)).rejects.toEqual(forbidden);
    await expect(bench.ask("identity.userSessions", { userId }, meta)).rejects.toEqual(forbidden);
    await expect(suspend(operator.userId, meta)).rejects.toEqual(forbidden);
    await expect(bench.ask("identity.restoreUser", { userId }, meta)).rejects.toEqual(forbidden);
    await expect(bench.ask("identity.setRole", { userId, role: "admin" }, meta)).rejects.toEqual(forbidden);
    await expect(bench.ask("identity.removeRole", { userId }, meta)).rejects.toEqual(forbidden);
    await expect(bench.ask("identity.endUserSessions", { userId }, meta)).rejects.toEqual(forbidden);
  });
});

describe("identity.user", () => {
  it("gives the newest 20 entries of the audit that are about the user", async () => {
    const { userId } = await bench.customer();
    await bench.sql(
      `INSERT INTO audit_entries (id, action, subject)
       SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'a' || n, $1 FROM generate_series(1, 21) n`,
      [userId],
    );
    const { audit } = await bench.ask("identity.user", { userId }, operator.meta);
    expect(audit.map(({ action }) => action)).toEqual(Array.from({ length: 20 }, (_, at) => `a${21 - at}`));
  });

  it("that does not exist, is not found by any action", async () => {
    const userId = newId();
    const notFound = refused("NOT_FOUND");
    const grant = { userId, role: "deliverer" } as const;
    await expect(bench.ask("identity.user", { userId }, operator.meta)).rejects.toEqual(notFound);
    await expect(suspend(userId)).rejects.toEqual(notFound);
    await expect(bench.ask("identity.restoreUser", { userId }, operator.meta)).rejects.toEqual(notFound);
    await expect(bench.ask("identity.setRole", grant, operator.meta)).rejects.toEqual(notFound);
    await expect(bench.ask("identity.endUserSessions", { userId }, operator.meta)).rejects.toEqual(notFound);
    await expect(bench.ask("identity.findRole", { userId }, operator.meta)).resolves.toEqual({});
  });

  it("whose address is not confirmed, has no role yet", async () => {
    const { userId } = await bench.registered();
    await expect(bench.ask("identity.findRole", { userId }, operator.meta)).resolves.toEqual({});
  });

  it("is changed by nobody who is no operator any more, or is suspended", async () => {
    const { userId } = await bench.customer();
    for (const change of ["role = 'customer'", "suspended_at = now()"]) {
      const former = await bench.admin();
      await bench.sql(`UPDATE profiles SET ${change} WHERE id = $1`, [former.userId]);
      await expect(suspend(userId, former.meta)).rejects.toEqual(refused("FORBIDDEN"));
    }
  });
});

describe("identity.suspendUser", () => {
  it("ends the sessions, refuses sign-in and refresh, and sends the state to the other services", async () => {
    const { userId, email, tokens, meta } = await bench.staff("deliverer");
    const suspended = await suspend(userId);
    expect(suspended).toMatchObject({ id: userId, state: "suspended", suspensionReason: "Lost phone" });
    await eventually(() => expect(profile(meta)).rejects.toEqual(refused("SESSION_REVOKED")));
    const { refreshToken } = tokens;
    await expect(bench.ask("identity.refresh", { refreshToken })).rejects.toEqual(refused("SESSION_REVOKED"));
    await expect(bench.signIn(email)).rejects.toEqual(refused("ACCOUNT_SUSPENDED"));
    await expect(bench.signIn(email, "not the password")).rejects.toEqual(refused("INVALID_CREDENTIALS"));
    expect((await bench.ask("identity.userSessions", { userId }, operator.meta)).items).toEqual([]);
    expect(await bench.said("user.updated", (user) => user.userId === userId)).toMatchObject({
      suspended: true,
      role: "deliverer",
    });
    await expect(bench.ask("identity.findRole", { userId }, operator.meta)).resolves.toEqual({});
    await expect(suspend(userId)).resolves.toEqual(suspended);

    const { audit } = await bench.ask("identity.user", { userId }, operator.meta);
    const acts = audit.filter(({ action }) => action === "user.suspended");
    expect(acts).toEqual([expect.objectContaining({ actorId: operator.userId, subject: userId })]);
  });

  it("refuses a session that a sign-in opened at the same moment", async () => {
    const people = await Promise.all(Array.from({ length: 4 }, () => bench.customer()));
    for (const { userId, email } of people) {
      const signingIn = Array.from({ length: 4 }, () => bench.signIn(email).catch(() => undefined));
      await suspend(userId);
      await Promise.all(signingIn);
      expect((await bench.ask("identity.userSessions", { userId }, operator.meta)).items).toEqual([]);
    }
  });

  it("refuses a refresh when the end of the sessions was interrupted", async () => {
    const { userId, tokens } = await bench.customer();
    await bench.sql("UPDATE profiles SET suspended_at = now() WHERE id = $1", [userId]);
    const { refreshToken } = tokens;
    await expect(bench.ask("identity.refresh", { refreshToken })).rejects.toEqual(refused("SESSION_REVOKED"));
    expect((await bench.ask("identity.userSessions", { userId }, operator.meta)).items).toEqual([]);
  });

  it("repeated with its key after a restore, does not end the sessions since", async () => {
    const { userId, email } = await bench.customer();
    const keyed = { ...operator.meta, idempotency: { key: newId(), bodyHash: "a".repeat(64) } };
    const suspended = await suspend(userId, keyed);
    await bench.ask("identity.restoreUser", { userId }, operator.meta);
    await bench.signIn(email);
    await expect(suspend(userId, keyed)).resolves.toEqual(suspended);
    expect((await bench.ask("identity.userSessions", { userId }, operator.meta)).items).toHaveLength(1);
  });

  it("leaves other staff of the partner alone", async () => {
    const partnerId = newId();
    const [one, other] = [
      await bench.staff("partner", { partnerId }),
      await bench.staff("partner", { partnerId }),
    ];
    await suspend(one.userId);
    await eventually(() => expect(profile(one.meta)).rejects.toEqual(refused("SESSION_REVOKED")));
    await expect(profile(other.meta)).resolves.toMatchObject({ id: other.userId, partnerId });
    await expect(bench.signIn(other.email)).resolves.toBeDefined();
  });

  it("refuses the own account, and of two operators who suspend each other one is left", async () => {
    await expect(suspend(operator.userId)).rejects.toEqual(refused("FORBIDDEN"));
    const [one, other] = [await bench.admin(), await bench.admin()];
    const both = await Promise.allSettled([suspend(one.userId, other.meta), suspend(other.userId, one.meta)]);
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("is not recorded as undone for a user who is not suspended", async () => {
    const { userId } = await bench.customer();
    await expect(bench.ask("identity.restoreUser", { userId }, operator.meta)).resolves.toMatchObject({
      state: "active",
    });
    expect((await bench.ask("identity.user", { userId }, operator.meta)).audit).toEqual([]);
  });

  it("is undone by a restore, once for each key", async () => {
    const { userId, email } = await bench.customer();
    await suspend(userId);
    const meta = { ...operator.meta, idempotency: { key: newId(), bodyHash: "a".repeat(64) } };
    const restored = await bench.ask("identity.restoreUser", { userId }, meta);
    expect(restored).toMatchObject({ state: "active" });
    expect(restored).not.toHaveProperty("suspensionReason");
    await expect(bench.signIn(email)).resolves.toBeDefined();
    const isRestored = (user: { userId: string; suspended?: boolean | undefined }) =>
      user.userId === userId && !user.suspended;
    await bench.said("user.updated", isRestored);
    await expect(bench.ask("identity.restoreUser", { userId }, meta)).resolves.toEqual(restored);
  });
});

describe("identity.setRole", () => {
  it("gives and removes a role here and at the provider, and ends the sessions", async () => {
    const { userId, email, meta } = await bench.customer();
    const set = (grant: object) =>
      bench.ask("identity.setRole", { userId, role: "deliverer", ...grant }, operator.meta);
    await expect(set({})).resolves.toMatchObject({ role: "deliverer" });
    await eventually(() => expect(profile(meta)).rejects.toEqual(refused("SESSION_REVOKED")));
    await expect(profile({ token: (await bench.signIn(email)).accessToken })).resolves.toMatchObject({
      role: "deliverer",
    });
    const partnerId = newId();
    await expect(set({ role: "partner", partnerId, partnerAdmin: true })).resolves.toMatchObject({
      partnerId,
    });
    await expect(set({ role: "partner" })).rejects.toEqual(refused("VALIDATION_ERROR"));
    await expect(set({ expectedVersion: 1 })).rejects.toEqual(refused("PRECONDITION_FAILED"));
    await expect(set({ partnerId })).rejects.toEqual(refused("VALIDATION_ERROR"));
    await expect(bench.ask("identity.removeRole", { userId }, operator.meta)).resolves.toMatchObject({
      role: "customer",
    });
    await expect(profile({ token: (await bench.signIn(email)).accessToken })).resolves.toMatchObject({
      role: "customer",
    });
    const { audit } = await bench.ask("identity.user", { userId }, operator.meta);
    expect(audit.map(({ action, detail }) => `${action} ${detail ?? ""}`)).toEqual(
      expect.arrayContaining([
        "role.granted customer to deliverer",
        `role.removed partner ${partnerId} as its admin to customer`,
      ]),
    );
  });

  it("to the role that the user has, ends no session and records nothing", async () => {
    const { userId, meta } = await bench.customer();
    const same = { userId, role: "customer" } as const;
    await expect(bench.ask("identity.setRole", same, operator.meta)).resolves.toMatchObject({ version: 2 });
    await expect(profile(meta)).resolves.toBeDefined();
    expect((await bench.ask("identity.user", { userId }, operator.meta)).audit).toEqual([]);
  });

  it("refuses the own account and one whose address is not confirmed", async () => {
    const own = { userId: operator.userId, role: "customer" } as const;
    await expect(bench.ask("identity.setRole", own, operator.meta)).rejects.toEqual(refused("FORBIDDEN"));
    const { userId } = await bench.registered();
    const early = { userId, role: "deliverer" } as const;
    await expect(bench.ask("identity.setRole", early, operator.meta)).rejects.toEqual(
      refused("EMAIL_NOT_CONFIRMED"),
    );
  });
});

describe("identity.endUserSessions", () => {
  it("ends one session or all, and not those of others", async () => {
    const { userId, email, meta } = await bench.customer();
    const second = await bench.signIn(email);
    const list = async () => (await bench.ask("identity.userSessions", { userId }, operator.meta)).items;
    const [newest] = await list();
    const sessionId = newest?.id as string;
    await expect(
      bench.ask("identity.endUserSession", { userId: operator.userId, sessionId }, operator.meta),
    ).rejects.toEqual(refused("NOT_FOUND"));
    await bench.ask("identity.endUserSession", { userId, sessionId }, operator.meta);
    expect(await list()).toHaveLength(1);
    await bench.ask("identity.endUserSessions", { userId }, operator.meta);
    expect(await list()).toEqual([]);
    for (const token of [meta.token, second.accessToken])
      await eventually(() => expect(profile({ token })).rejects.toEqual(refused("SESSION_REVOKED")));
    await expect(bench.signIn(email)).resolves.toBeDefined();
    const { audit } = await bench.ask("identity.user", { userId }, operator.meta);
    expect(new Map(audit.map(({ action, detail }) => [action, detail]))).toEqual(
      new Map([
        ["session.ended", sessionId],
        ["sessions.ended", undefined],
      ]),
    );
  });
});

describe("invitations", () => {
  const accept = (token: string) =>
    bench.ask("identity.acceptInvitation", { token, password: PASSWORD, firstName: "Ida" });
  const invitationsOf = async (meta: object) => (await bench.ask("identity.invitations", {}, meta)).items;

  it("are listed for admins, and for admins of a partner those of the partner, with their state", async () => {
    const partnerId = newId();
    const boss = await bench.staff("partner", { partnerId, partnerAdmin: true });
    const { email } = await bench.invited("deliverer");
    const own = newAddress();
    await bench.ask("identity.invite", { email: own, role: "partner" }, boss.meta);
    const [open, accepted, ...more] = await invitationsOf(boss.meta);
    expect(more).toEqual([]);
    expect(open).toMatchObject({ email: own, state: "open", partnerId, invitedBy: boss.userId });
    expect(accepted).toMatchObject({ email: boss.email, state: "accepted", acceptedBy: boss.userId });
    expect((await invitationsOf(operator.meta)).map((one) => one.email)).toEqual(
      expect.arrayContaining([email, own]),
    );
    const { meta: clerk } = await bench.staff("partner", { partnerId });
    await expect(invitationsOf(clerk)).rejects.toEqual(refused("FORBIDDEN"));
  });

  it("that are withdrawn cannot be accepted, and those of another partner are not found", async () => {
    const boss = await bench.staff("partner", { partnerId: newId(), partnerAdmin: true });
    const { token } = await bench.invited("deliverer");
    const [invitation] = await invitationsOf(operator.meta);
    const invitationId = invitation?.id as string;
    const withdraw = (meta: object) => bench.ask("identity.withdrawInvitation", { invitationId }, meta);
    const resend = (meta: object) => bench.ask("identity.resendInvitation", { invitationId }, meta);
    await expect(withdraw(boss.meta)).rejects.toEqual(refused("NOT_FOUND"));
    await expect(resend(boss.meta)).rejects.toEqual(refused("NOT_FOUND"));
    await withdraw(operator.meta);
    await withdraw(operator.meta);
    const entries = await bench.sql("SELECT action FROM audit_entries WHERE subject = $1", [invitationId]);
    expect(entries.map(({ action }) => action).sort()).toEqual(["invitation.sent", "invitation.withdrawn"]);
    await expect(accept(token)).rejects.toEqual(refused("INVITATION_INVALID"));
    await expect(resend(operator.meta)).rejects.toEqual(refused("INVITATION_ENDED"));
    const [after] = await invitationsOf(operator.meta);
    expect(after).toMatchObject({ id: invitationId, state: "withdrawn" });
  });

  it("that are sent again work with the new token only, also after they had expired", async () => {
    const { email, token } = await bench.invited("deliverer");
    const [invitation] = await invitationsOf(operator.meta);
    const invitationId = invitation?.id as string;
    await bench.sql("UPDATE invitations SET expires_at = now() WHERE id = $1", [invitationId]);
    const sent = await bench.mailed(email, "invitation", () =>
      bench.ask("identity.resendInvitation", { invitationId }, operator.meta),
    );
    await expect(accept(token)).rejects.toEqual(refused("INVITATION_INVALID"));
    await expect(accept(sent.token ?? "")).resolves.toMatchObject({ email });
    const again = bench.ask("identity.resendInvitation", { invitationId }, operator.meta);
    await expect(again).rejects.toEqual(refused("INVITATION_ENDED"));
    const withdrawn = bench.ask("identity.withdrawInvitation", { invitationId }, operator.meta);
    await expect(withdrawn).rejects.toEqual(refused("INVITATION_ENDED"));
  });
});

describe("lists of invitations and of the audit", () => {
  it("without a limit, give 20 and 50, and a next page only if there is one", async () => {
    const [partnerId, many] = [newId(), 60];
    const boss = await bench.staff("partner", { partnerId, partnerAdmin: true });
    await bench.sql("DELETE FROM invitations WHERE partner_id = $1", [partnerId]);
    const insert = (count: number) =>
      bench.sql(
        `INSERT INTO invitations (id, email, role, partner_id, token_hash, invited_by, expires_at)
         SELECT gen_random_uuid(), 'a@example.org', 'partner', $1, gen_random_uuid(), $1, now()
         FROM generate_series(1, $2)`,
        [partnerId, count],
      );
    const invitations = (more: object = {}) => bench.ask("identity.invitations", more, boss.meta);
    await insert(20);
    const all = await invitations();
    expect({ count: all.items.length, next: all.nextCursor }).toEqual({ count: 20, next: undefined });
    await insert(1);
    const { items, nextCursor } = await invitations();
    expect(items).toHaveLength(20);
    const rest = await invitations({ cursor: nextCursor });
    expect({ count: rest.items.length, next: rest.nextCursor }).toEqual({ count: 1, next: undefined });
    expect((await invitations({ state: "expired" })).items).toHaveLength(20);
    expect((await invitations({ state: "open" })).items).toEqual([]);
    await expect(invitations({ cursor: "QQ" })).rejects.toEqual(refused("VALIDATION_ERROR"));

    await bench.sql(
      "INSERT INTO audit_entries (id, action, subject) SELECT gen_random_uuid(), 'a', 's' FROM generate_series(1, $1)",
      [many],
    );
    const audit = (more: object) => bench.ask("identity.audit", more, operator.meta);
    expect((await audit({})).items).toHaveLength(50);
    const [{ count = 0 } = {}] = await bench.sql<{ count: number }>(
      "SELECT count(*)::integer AS count FROM audit_entries",
    );
    let read = 0;
    for (let cursor: string | undefined, pages = 0; pages < count; pages++) {
      const page = await audit({ limit: 50, ...(cursor && { cursor }) });
      read += page.items.length;
      cursor = page.nextCursor;
      if (!cursor) break;
    }
    expect(read).toBe(count);
  });
});

describe("gRPC clients", () => {
  const METHODS = ["waybill.orders.v1.Orders/List", "waybill.orders.v1.Orders/Get"];
  const create = (changes: object = {}, meta: object = operator.meta) =>
    bench.ask(
      "identity.createGrpcClient",
      { name: `erp-${newId().slice(-12)}`, methods: METHODS, ...changes },
      meta,
    );
  const revoke = (client: string) => bench.ask("identity.revokeGrpcClient", { client }, operator.meta);
  const keys = async () => (await bench.ask("identity.grpcClientKeys", { used: [] })).items;
  const listed = async (id: string) =>
    (await bench.ask("identity.grpcClients", { limit: 100 }, operator.meta)).items.find((it) => it.id === id);

  it("are created with a key that is shown once and stored as a hash, and revoked, with audit entries", async () => {
    const { client, key } = await create();
    const start = `waybill_${client.id}_`;
    expect(key.startsWith(start)).toBe(true);
    const secret = key.slice(start.length);
    const [row] = await bench.sql("SELECT * FROM grpc_clients WHERE id = $1", [client.id]);
    expect(JSON.stringify(row)).not.toContain(secret);
    expect(row).toMatchObject({
      secret_hash: createHash("sha256").update(secret).digest("base64url"),
      created_by: operator.userId,
    });
    expect(client).toMatchObject({ state: "active", methods: METHODS.toSorted(), callsPerSecond: 20 });
    expect(JSON.stringify(await listed(client.id))).not.toContain("ash");
    expect(await keys()).toContainEqual(expect.objectContaining({ id: client.id, name: client.name }));

    expect(await revoke(client.name)).toMatchObject({ id: client.id, state: "revoked" });
    expect(await keys()).not.toContainEqual(expect.objectContaining({ id: client.id }));
    expect(await revoke(client.id)).toMatchObject({ state: "revoked" });
    const acts = await bench.sql("SELECT action, actor_id, detail FROM audit_entries WHERE subject = $1", [
      client.id,
    ]);
    const actor_id = operator.userId;
    expect(acts).toEqual([
      { action: "grpc_client.created", actor_id, detail: `${client.name}: 2 methods` },
      { action: "grpc_client.revoked", actor_id, detail: client.name },
    ]);
  });

  it("that have expired are not among the keys of the nodes", async () => {
    const { client } = await create({ expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
    expect(await keys()).toContainEqual(expect.objectContaining({ id: client.id }));
    await bench.sql("UPDATE grpc_clients SET expires_at = now() WHERE id = $1", [client.id]);
    expect(await keys()).not.toContainEqual(expect.objectContaining({ id: client.id }));
    expect(await listed(client.id)).toMatchObject({ state: "expired" });
  });

  it("show the last use that a node reports, and no time in the future", async () => {
    const { client } = await create();
    const report = (at: string) => bench.ask("identity.grpcClientKeys", { used: [{ id: client.id, at }] });
    const at = "2026-01-02T03:04:05.000Z";
    await report(at);
    await report("2026-01-01T00:00:00.000Z");
    expect((await listed(client.id))?.lastUsedAt).toBe(at);
    await report("9999-01-01T00:00:00.000Z");
    expect(Date.parse((await listed(client.id))?.lastUsedAt as string)).toBeLessThan(Date.now() + 60_000);
  });

  it("with a name in use, an unknown or inner method, or a past end, are refused", async () => {
    const { client } = await create();
    await expect(create({ name: client.name })).rejects.toEqual(refused("VALIDATION_ERROR"));
    for (const methods of [[], ["waybill.orders.v1.Orders/*"], ["waybill.partners.v1.Partners/Reserve"]])
      await expect(create({ methods })).rejects.toEqual(refused("VALIDATION_ERROR"));
    const expiresAt = "2020-01-01T00:00:00.000Z";
    await expect(create({ expiresAt })).rejects.toEqual(refused("VALIDATION_ERROR"));
    await revoke(client.id);
    await expect(create({ name: client.name })).resolves.toBeDefined();
    await expect(revoke("nobody")).rejects.toEqual(refused("NOT_FOUND"));
  });

  it("are managed by admins only", async () => {
    const { client } = await create();
    for (const role of ["support", "finance"] as const) {
      const { meta } = await bench.staff(role);
      await expect(create({}, meta)).rejects.toEqual(refused("FORBIDDEN"));
      const calls = [
        bench.ask("identity.grpcClients", {}, meta),
        bench.ask("identity.revokeGrpcClient", { client: client.id }, meta),
      ];
      for (const call of calls) await expect(call).rejects.toEqual(refused("FORBIDDEN"));
    }
  });

  it("that ended 90 days ago are deleted", async () => {
    const [old, recent] = [await create(), await create()];
    const endedAgo = (id: string, days: number) =>
      bench.sql("UPDATE grpc_clients SET revoked_at = now() - $2 * interval '1 day' WHERE id = $1", [
        id,
        days,
      ]);
    await endedAgo(old.client.id, 91);
    await endedAgo(recent.client.id, 89);
    await bench.sweep(async () => expect(await listed(old.client.id)).toBeUndefined());
    expect(await listed(recent.client.id)).toBeDefined();
  });
});
