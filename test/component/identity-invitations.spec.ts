import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { decodeJwt } from "jose";
import { newId } from "../../lib/ids.ts";
import { down, up } from "../../migrations/identity/0052_partner_admins.ts";
import { eventually } from "../support/eventually.ts";
import { type IdentityBench, newAddress, PASSWORD, startIdentity } from "../support/identity.ts";
import { asKnex, openPool } from "../support/postgres.ts";

let bench: IdentityBench;
beforeAll(async () => {
  bench = await startIdentity();
});
afterAll(() => bench.stop());

const accept = (token: string, password = PASSWORD) =>
  bench.ask("identity.acceptInvitation", { token, password, firstName: "Jonas", lastName: "Meier" });
/** The user's profile in a new session. */
const profileOf = async (email: string) =>
  bench.ask("identity.profile", {}, { token: (await bench.signIn(email)).accessToken });
const forbidden = expect.objectContaining({ type: "FORBIDDEN", code: 403 });
const invalid = expect.objectContaining({ type: "INVITATION_INVALID", code: 422 });

describe("identity.invite", () => {
  it.each(["deliverer", "admin"] as const)("by an admin, makes the accepting person a %s", async (role) => {
    const { userId, email, meta } = await bench.staff(role);
    await expect(bench.ask("identity.profile", {}, meta)).resolves.toMatchObject({
      id: userId,
      email,
      role,
      emailConfirmed: true,
    });
    const { meta: admin } = await bench.staff("admin");
    await expect(bench.ask("identity.findRole", { userId }, admin)).resolves.toEqual({ role });
    await expect(bench.ask("identity.findRole", { userId: newId() }, admin)).resolves.toEqual({});
    if (role !== "admin")
      await expect(bench.ask("identity.findRole", { userId }, meta)).rejects.toEqual(forbidden);
    const told = await bench.said("user.registered", (user) => user.userId === userId);
    expect(told).toMatchObject({ role, email });
  });

  it("takes one connection each: as many as the pool has do not wait for each other", async () => {
    const narrow = await startIdentity({
      settings: { POSTGRES_POOL: 2, POSTGRES_ACQUIRE_TIMEOUT_MS: 1_500 },
    });
    try {
      const { meta } = await narrow.admin();
      const invitations = Array.from({ length: 6 }, () =>
        narrow.ask("identity.invite", { email: newAddress(), role: "deliverer" }, meta),
      );
      const answers = await Promise.allSettled(invitations);
      expect(answers.map(({ status }) => status)).toEqual(Array(6).fill("fulfilled"));
    } finally {
      await narrow.stop();
    }
  });

  it("by an admin, makes staff of one partner, whose admin then invites staff of that partner only", async () => {
    const partnerId = newId();
    const boss = await bench.staff("partner", { partnerId, partnerAdmin: true });
    await expect(bench.ask("identity.profile", {}, boss.meta)).resolves.toMatchObject({
      role: "partner",
      partnerId,
      partnerAdmin: true,
    });
    const invite = (more: object) =>
      bench.ask("identity.invite", { email: newAddress(), role: "partner", ...more }, boss.meta);
    const email = newAddress();
    const { token = "" } = await bench.mailed(email, "invitation", () => invite({ email }));
    await accept(token);
    await expect(profileOf(email)).resolves.toMatchObject({
      role: "partner",
      partnerId,
      partnerAdmin: false,
    });

    await expect(invite({ partnerId })).resolves.toBeDefined();
    await expect(invite({ partnerId: newId() })).rejects.toEqual(forbidden);
    await expect(invite({ role: "admin" })).rejects.toEqual(forbidden);
    await expect(invite({ role: "deliverer" })).rejects.toEqual(forbidden);
    await expect(invite({ partnerAdmin: true })).rejects.toEqual(forbidden);
  });

  it("by an admin, to staff of the same partner, grants the partner admin and revokes it", async () => {
    const partnerId = newId();
    const { email, userId } = await bench.staff("partner", { partnerId });
    for (const partnerAdmin of [true, false]) {
      const { token } = await bench.invited("partner", { email, partnerId, partnerAdmin });
      await accept(token);
      await expect(profileOf(email)).resolves.toMatchObject({ id: userId, partnerId, partnerAdmin });
    }
    const { token } = await bench.invited("partner", { email, partnerId: newId() });
    await expect(accept(token)).rejects.toMatchObject({ type: "EMAIL_TAKEN" });
  });

  it("by staff who are no admins, deliverers and customers, is refused", async () => {
    const others = [
      await bench.staff("partner", { partnerId: newId() }),
      await bench.staff("deliverer"),
      await bench.customer(),
    ];
    for (const { meta } of others) {
      await expect(
        bench.ask("identity.invite", { email: newAddress(), role: "partner" }, meta),
      ).rejects.toEqual(forbidden);
    }
  });

  it.each([
    ["staff of no partner", { role: "partner" }, "partnerId"],
    ["a deliverer of a partner", { role: "deliverer", partnerId: newId() }, "partnerId"],
    ["an admin who is a partner's admin", { role: "admin", partnerAdmin: true }, "partnerAdmin"],
  ] as const)("of %s, is refused naming the field", async (_name, more, field) => {
    const { meta } = await bench.admin();
    await expect(bench.ask("identity.invite", { email: newAddress(), ...more }, meta)).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: { errors: [expect.objectContaining({ field })] },
    });
  });

  it("of a customer's role, is refused by the contract", async () => {
    const { meta } = await bench.admin();
    const asked = { email: newAddress(), role: "customer" } as unknown as { email: string; role: "admin" };
    await expect(bench.ask("identity.invite", asked, meta)).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
    });
  });

  it("repeated with its Idempotency-Key, answers the same and sends one mail", async () => {
    const { meta } = await bench.admin();
    const email = newAddress();
    const keyed = { ...meta, idempotency: { key: newId(), bodyHash: "a".repeat(64) } };
    const first = await bench.ask("identity.invite", { email, role: "deliverer" }, keyed);
    await expect(bench.ask("identity.invite", { email, role: "deliverer" }, keyed)).resolves.toEqual(first);
    const count = await bench.sql("SELECT 1 FROM invitations WHERE email = $1", [email]);
    expect(count).toHaveLength(1);
  });

  it("again to the same address, invalidates the earlier token", async () => {
    const email = newAddress();
    const { token: earlier } = await bench.invited("deliverer", { email });
    const { token } = await bench.invited("deliverer", { email });
    await expect(accept(earlier)).rejects.toEqual(invalid);
    await expect(accept(token)).resolves.toMatchObject({
      email,
    });
  });
});

describe("identity.acceptInvitation", () => {
  it("succeeds once, also for ten concurrent requests", async () => {
    const { token, email } = await bench.invited("deliverer");
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => accept(token)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") expect(outcome.reason).toEqual(invalid);
    }
    await expect(accept(token)).rejects.toEqual(invalid);
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });

  it("with a wrong or expired token, is refused", async () => {
    await expect(accept("rubbish")).rejects.toEqual(invalid);
    const { token, email } = await bench.invited("deliverer");
    await bench.sql("UPDATE invitations SET expires_at = now() - interval '1 second' WHERE email = $1", [
      email,
    ]);
    await expect(accept(token)).rejects.toEqual(invalid);
  });

  it("with a password that is too common, is refused and can be repeated with another", async () => {
    const { token } = await bench.invited("deliverer");
    await expect(accept(token, "password1")).rejects.toMatchObject({ type: "PASSWORD_TOO_COMMON" });
    await expect(accept(token)).resolves.toBeDefined();
  });

  it("by a customer, checks their password, grants the role and ends sessions with the former one", async () => {
    const customer = await bench.customer();
    const { token } = await bench.invited("deliverer", { email: customer.email });
    await expect(accept(token, "wrong-Passw-0rt")).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await expect(accept(token)).resolves.toMatchObject({ userId: customer.userId });
    await eventually(() =>
      expect(bench.ask("identity.profile", {}, customer.meta)).rejects.toMatchObject({
        type: "SESSION_REVOKED",
      }),
    );
    await expect(profileOf(customer.email)).resolves.toMatchObject({
      role: "deliverer",
      firstName: "Grete",
    });
    const told = await bench.said("user.updated", (user) => user.userId === customer.userId);
    expect(told.role).toBe("deliverer");
  });

  it("by a user with another role than customer, is refused", async () => {
    const { email } = await bench.admin();
    const { token } = await bench.invited("deliverer", { email });
    await expect(accept(token)).rejects.toMatchObject({
      type: "EMAIL_TAKEN",
    });
  });

  it("for an address with an unconfirmed registration, gives the account to the owner of the token", async () => {
    const squatter = await bench.registered({ password: "Nebelhorn-und-Kaese" });
    const { token } = await bench.invited("deliverer", { email: squatter.email });
    await accept(token);
    await expect(bench.signIn(squatter.email, "Nebelhorn-und-Kaese")).rejects.toMatchObject({
      type: "INVALID_CREDENTIALS",
    });
    await expect(profileOf(squatter.email)).resolves.toMatchObject({
      role: "deliverer",
      firstName: "Jonas",
    });
    await expect(
      bench.ask("identity.confirm", { email: squatter.email, code: squatter.code }),
    ).resolves.toEqual({});
    await expect(bench.signIn(squatter.email)).resolves.toBeDefined();
  });

  it("interrupted after the provider created the account, can be repeated", async () => {
    const { token, email } = await bench.invited("deliverer");
    const { userId } = await accept(token);
    await bench.sql("DELETE FROM profiles WHERE id = $1", [userId]);
    await bench.sql("UPDATE invitations SET accepted_by = NULL, claimed_until = 'epoch' WHERE email = $1", [
      email,
    ]);
    await expect(accept(token)).resolves.toEqual({
      userId,
      email,
    });
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });

  it("of an address that has an account at the provider only, takes it over with its own password and role", async () => {
    const { token, email } = await bench.invited("deliverer");
    const former = newId();
    await bench.sql(
      "INSERT INTO accounts (id, email, password_hash, confirmed, role) VALUES ($1, $2, 'none', true, 'customer')",
      [former, email],
    );
    await expect(accept(token)).resolves.toEqual({ userId: former, email });
    const { accessToken } = await bench.signIn(email);
    expect(decodeJwt(accessToken)).toMatchObject({ sub: former, role: "deliverer" });
  });

  it("stores no token in plain text, and its mail is about the invitation", async () => {
    const { token, email } = await bench.invited("deliverer");
    const [{ id } = {}] = await bench.sql("SELECT id FROM invitations WHERE email = $1", [email]);
    const [mail] = bench.seen.filter(({ data }) => (data as { email?: string }).email === email);
    expect(mail).toMatchObject({ subject: id });
    expect(JSON.stringify(await bench.sql("SELECT * FROM invitations"))).not.toContain(token);
  });
});

describe("the audit log", () => {
  it("identity.audit, for an admin, returns who invited whom, newest first, page by page", async () => {
    const boss = await bench.admin();
    const invite = (role: "deliverer" | "admin") =>
      bench.ask("identity.invite", { email: newAddress(), role }, { ...boss.meta, clientIp: "192.0.2.44" });
    const [first, second] = [await invite("deliverer"), await invite("admin")];
    const page = await bench.ask("identity.audit", { limit: 1 }, boss.meta);
    expect(page.items).toEqual([
      {
        id: expect.any(String),
        at: expect.stringMatching(/Z$/),
        actorId: boss.userId,
        action: "invitation.sent",
        subject: second.invitationId,
        detail: "admin",
        ip: "192.0.2.44",
      },
    ]);
    const next = await bench.ask(
      "identity.audit",
      { limit: 1, cursor: page.nextCursor as string },
      boss.meta,
    );
    expect(next.items).toEqual([
      expect.objectContaining({ subject: first.invitationId, detail: "deliverer" }),
    ]);
    const all = await bench.ask("identity.audit", { limit: 100 }, boss.meta);
    expect(all.items).toContainEqual(
      expect.objectContaining({ action: "admin.created", subject: boss.userId }),
    );
  });

  it("identity.audit, for any other role, is refused; so is an invalid cursor", async () => {
    const { meta } = await bench.customer();
    await expect(bench.ask("identity.audit", {}, meta)).rejects.toEqual(forbidden);
    const boss = await bench.admin();
    await expect(bench.ask("identity.audit", { cursor: "abc" }, boss.meta)).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
    });
  });

  it.each([
    ["UPDATE audit_entries SET action = 'nothing'"],
    ["DELETE FROM audit_entries"],
    ["TRUNCATE audit_entries"],
  ])("refuses the service's own database user: %s", async (statement) => {
    await bench.admin();
    const before = await bench.sql("SELECT * FROM audit_entries ORDER BY id");
    await expect(bench.sql(statement)).rejects.toMatchObject({ code: "42501" });
    expect(await bench.sql("SELECT * FROM audit_entries ORDER BY id")).toEqual(before);
  });
});

describe("the migration to admins of partners", () => {
  it("makes the staff member with the longest service an admin of each partner without one, also at the provider", async () => {
    const [led, leaderless] = [newId(), newId()];
    const boss = await bench.staff("partner", { partnerId: led, partnerAdmin: true });
    const staff = [
      await bench.staff("partner", { partnerId: led }),
      await bench.staff("partner", { partnerId: leaderless }),
      await bench.staff("partner", { partnerId: leaderless }),
    ];
    const pool = openPool(bench.database, 1);
    try {
      await down(asKnex(pool));
      await up(asKnex(pool));
    } finally {
      await pool.close();
    }
    await bench.sweep(async () => expect(await bench.sql("SELECT user_id FROM pending_grants")).toEqual([]));

    const admins = [];
    for (const { email } of [boss, ...staff]) {
      const { accessToken: token } = await bench.signIn(email); // what the provider says is adopted
      admins.push((await bench.ask("identity.profile", {}, { token })).partnerAdmin);
    }
    expect(admins).toEqual([true, false, true, false]);
    const announced = await bench.said("user.updated", (user) => user.userId === staff[1]?.userId);
    expect(announced).toMatchObject({ role: "partner", partnerId: expect.any(String) });
  });

  it("makes no admin of a person who has left the partner, or who is erased", async () => {
    const present = newId();
    const { email, userId } = await bench.staff("partner", { partnerId: present });
    for (const former of [userId, newId()]) {
      await bench.sql("INSERT INTO pending_grants (user_id, partner_id) VALUES ($1, $2)", [former, newId()]);
    }
    await bench.sweep(async () => expect(await bench.sql("SELECT user_id FROM pending_grants")).toEqual([]));
    const { accessToken: token } = await bench.signIn(email);
    await expect(bench.ask("identity.profile", {}, { token })).resolves.toMatchObject({
      ...{ partnerId: present, partnerAdmin: false, version: 1 },
    });
  });
});
