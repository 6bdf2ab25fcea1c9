import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { insertExport, storePage } from "../../services/identity/store/exports.repository.ts";
import { FIRST_STEP } from "../../services/identity/use-cases/export-steps.ts";
import { eventually } from "../support/eventually.ts";
import { type IdentityBench, newAddress, otherCode, PASSWORD, startIdentity } from "../support/identity.ts";
import { openPool } from "../support/postgres.ts";

let bench: IdentityBench;
beforeAll(async () => {
  bench = await startIdentity();
});
afterAll(() => bench.stop());

describe("the profile", () => {
  it("of a customer without a picture, has no fields of staff and of a picture", async () => {
    const { meta } = await bench.customer();
    expect(Object.keys(await bench.ask("identity.profile", {}, meta)).sort()).toEqual([
      "createdAt",
      "email",
      "emailConfirmed",
      "firstName",
      "id",
      "language",
      "lastName",
      "role",
      "version",
    ]);
  });

  it("identity.updateProfile changes the given fields, raises the version and publishes the change", async () => {
    const { userId, meta } = await bench.customer();
    const pushToken = { provider: "sandbox", token: "phone-2" } as const;
    const updated = await bench.ask(
      "identity.updateProfile",
      { expectedVersion: 2, firstName: "Zoë", birthDate: "1990-05-17", pushToken },
      meta,
    );
    expect(updated).toMatchObject({
      firstName: "Zoë",
      lastName: "Hansen",
      birthDate: "1990-05-17",
      version: 3,
    });
    const told = await bench.said("user.updated", (user) => user.userId === userId);
    expect(told).toMatchObject({ version: 3, firstName: "Zoë", pushToken });
  });

  it("identity.updateProfile, of an old version, is refused and changes nothing", async () => {
    const { meta } = await bench.customer();
    await bench.ask("identity.updateProfile", { expectedVersion: 2, firstName: "Zoë" }, meta);
    const late = bench.ask("identity.updateProfile", { expectedVersion: 2, firstName: "Eve" }, meta);
    await expect(late).rejects.toMatchObject({ type: "PRECONDITION_FAILED", code: 412 });
    await expect(bench.ask("identity.profile", {}, meta)).resolves.toMatchObject({ firstName: "Zoë" });
  });

  it("identity.updateProfile, with null, removes optional fields; without fields, does not change the version", async () => {
    const { meta } = await bench.customer();
    const optional = { phone: "+4915112345678", birthDate: "1990-05-17" };
    expect(await bench.ask("identity.updateProfile", optional, meta)).toMatchObject({
      ...optional,
      version: 3,
    });
    const cleared = await bench.ask("identity.updateProfile", { phone: null, birthDate: null }, meta);
    expect(cleared).toMatchObject({ firstName: "Grete", version: 4 });
    expect(Object.keys(cleared)).not.toEqual(expect.arrayContaining(["phone"]));
    expect(Object.keys(cleared)).not.toEqual(expect.arrayContaining(["birthDate"]));
    expect(await bench.ask("identity.updateProfile", {}, meta)).toEqual(cleared);
    const stale = bench.ask("identity.updateProfile", { expectedVersion: 3 }, meta);
    await expect(stale).rejects.toMatchObject({ type: "PRECONDITION_FAILED" });
  });

  it("identity.updateProfile, concurrently with one version, succeeds once", async () => {
    const { meta } = await bench.customer();
    const names = Array.from({ length: 8 }, (_, index) => `Zoë${"e".repeat(index)}`);
    const outcomes = await Promise.allSettled(
      names.map((firstName) => bench.ask("identity.updateProfile", { expectedVersion: 2, firstName }, meta)),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  it("every field of the answer, sent back as input, is refused unless it may be changed", async () => {
    const { meta } = await bench.customer();
    const profile = await bench.ask("identity.profile", {}, meta);
    const fixed = ["id", "role", "emailConfirmed", "version", "createdAt"] as const;
    for (const field of [...fixed, "partnerId", "partnerAdmin", "pendingEmail", "avatarVersion"]) {
      const value = {
        ...profile,
        partnerId: newId(),
        partnerAdmin: true,
        pendingEmail: "a@b.ch",
        avatarVersion: 1,
      }[field as keyof typeof profile];
      const sent = bench.ask("identity.updateProfile", { [field]: value } as object, meta);
      await expect(sent).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    }
  });

  it("a new address takes effect with its code; the former one gets a mail and is free again", async () => {
    const { email, userId, meta } = await bench.customer();
    const next = newAddress();
    const { code = "" } = await bench.mailed(next, "change-email", () =>
      bench.ask("identity.updateProfile", { email: next, currentPassword: PASSWORD }, meta),
    );
    await expect(bench.ask("identity.profile", {}, meta)).resolves.toMatchObject({
      email,
      pendingEmail: next,
    });
    await expect(bench.signIn(email)).resolves.toBeDefined();
    await expect(bench.ask("identity.confirmEmail", { code: otherCode(code) }, meta)).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
    await bench.mailed(email, "email-changed", () => bench.ask("identity.confirmEmail", { code }, meta));
    const told = await bench.said("user.updated", (user) => user.userId === userId && user.email === next);
    expect(told.version).toBeGreaterThan(2);
    await expect(bench.signIn(next)).resolves.toBeDefined();
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await expect(bench.customer({ email })).resolves.toBeDefined();
  });

  it("a new address that is another user's gets no code, and its owner gets a mail", async () => {
    const [owner, other] = [await bench.customer(), await bench.customer()];
    await bench.mailed(owner.email, "account-exists", () =>
      bench.ask("identity.updateProfile", { email: owner.email, currentPassword: PASSWORD }, other.meta),
    );
    const codes = bench.seen.filter(
      ({ data }) => "template" in data && data.template === "change-email" && data.email === owner.email,
    );
    expect(codes).toEqual([]);
  });

  it("a new address that another user confirms meanwhile is refused; an unconfirmed one is replaced", async () => {
    const [first, second] = [await bench.customer(), await bench.customer()];
    const change = async (email: string, { meta }: typeof first) =>
      (
        await bench.mailed(email, "change-email", () =>
          bench.ask("identity.updateProfile", { email, currentPassword: PASSWORD }, meta),
        )
      ).code ?? "";
    const wanted = newAddress();
    const [one, two] = [await change(wanted, first), await change(wanted, second)];
    await bench.ask("identity.confirmEmail", { code: one }, first.meta);
    await expect(bench.ask("identity.confirmEmail", { code: two }, second.meta)).rejects.toMatchObject({
      type: "EMAIL_TAKEN",
      code: 409,
    });
    const squatter = await bench.registered();
    const code = await change(squatter.email, second);
    await expect(bench.ask("identity.confirmEmail", { code }, second.meta)).resolves.toMatchObject({
      email: squatter.email,
    });
    await bench.said("user.deleted", (user) => user.userId === squatter.userId);
  });

  it("a code for a new address is invalid for another user", async () => {
    const [owner, other] = [await bench.customer(), await bench.customer()];
    const email = newAddress();
    const { code = "" } = await bench.mailed(email, "change-email", () =>
      bench.ask("identity.updateProfile", { email, currentPassword: PASSWORD }, owner.meta),
    );
    await expect(bench.ask("identity.confirmEmail", { code }, other.meta)).rejects.toMatchObject({
      type: "CODE_INVALID",
    });
  });

  it("without a token, nothing is shown or changed", async () => {
    const refusals = [
      bench.ask("identity.profile", {}),
      bench.ask("identity.updateProfile", { firstName: "Eve" }),
      bench.ask("identity.sessions", {}),
      bench.ask("identity.exportData", {}),
      bench.ask("identity.signOut", {}),
      bench.ask("identity.deleteAccount", { password: PASSWORD }),
      bench.ask("identity.setAvatar", { present: true }),
      bench.ask("identity.invite", { email: newAddress(), role: "admin" }),
      bench.ask("identity.audit", {}),
    ];
    for (const refusal of refusals) {
      await expect(refusal).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
    }
  });
});

describe("identity.createAdmin", () => {
  const make = (email: string, password = PASSWORD) =>
    bench.inside.call("identity.createAdmin", { email, password });

  it("creates an admin on its own node; repeated, it changes nothing, not even the password", async () => {
    const email = newAddress();
    const made = (await make(email)) as { userId: string };
    expect(made).toEqual({ userId: expect.any(String), created: true });
    await expect(make(email, "Nebelhorn-und-Kaese")).resolves.toEqual({
      userId: made.userId,
      created: false,
    });
    const tokens = await bench.signIn(email);
    await expect(bench.ask("identity.profile", {}, { token: tokens.accessToken })).resolves.toMatchObject({
      role: "admin",
    });
  });

  it("by several concurrent starts, creates one", async () => {
    const email = newAddress();
    // As a start does, each repeats its call as long as another is at work on the address.
    const start = () => eventually(() => make(email));
    const outcomes = (await Promise.all(Array.from({ length: 5 }, start))) as { created: boolean }[];
    expect(outcomes.filter(({ created }) => created)).toHaveLength(1);
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });

  it("cannot be called from another node", async () => {
    const { meta } = await bench.admin();
    await expect(
      bench.edge.call("identity.createAdmin", { email: newAddress(), password: PASSWORD }, { meta }),
    ).rejects.toMatchObject({ type: "SERVICE_NOT_FOUND" });
  });

  it("of a customer's address or with a common password, is refused", async () => {
    const { email } = await bench.customer();
    await expect(make(email)).rejects.toMatchObject({ type: "EMAIL_TAKEN" });
    await expect(make(newAddress(), "password1")).rejects.toMatchObject({ type: "PASSWORD_TOO_COMMON" });
  });
});

describe("erasure", () => {
  it("identity.deleteAccount requires the password", async () => {
    const { meta, email } = await bench.customer();
    const wrongly = bench.ask("identity.deleteAccount", { password: "wrong-Passw-0rt" }, meta);
    await expect(wrongly).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });

  it("identity.deleteAccount with open orders is refused with their ids, unless it is confirmed", async () => {
    const { userId, meta, email } = await bench.customer();
    const orderId = newId();
    bench.openOrders.set(userId, [orderId]);
    const refused = bench.ask("identity.deleteAccount", { password: PASSWORD }, meta);
    await expect(refused).rejects.toMatchObject({
      ...{ type: "OPEN_ORDERS", code: 409 },
      data: { orderIds: [orderId] },
    });
    await expect(bench.signIn(email)).resolves.toBeDefined();
    await bench.ask("identity.deleteAccount", { password: PASSWORD, confirm: true }, meta);
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    // The version after the last one of the profile.
    expect(await bench.said("user.deleted", (user) => user.userId === userId)).toMatchObject({ version: 3 });
  });

  it("identity.deleteAccount leaves no personal data in any column of any table", async () => {
    const canary = newId().slice(-12).replaceAll(/\d/g, "q");
    const email = `canary-${canary}@example.org`;
    const { userId, meta } = await bench.customer({
      email,
      firstName: `Canary${canary}`,
      lastName: `Canary${canary}`,
      phone: "+41791112233",
      birthDate: "1987-06-05",
      pushToken: { provider: "sandbox", token: `canary-${canary}` },
    });
    const signedIn = { email, password: PASSWORD, userAgent: `canary-${canary}` };
    await bench.ask("identity.signIn", signedIn, { clientIp: "203.0.113.77" });
    await bench.mailed(`canary-new-${canary}@example.org`, "change-email", () =>
      bench.ask(
        "identity.updateProfile",
        { email: `canary-new-${canary}@example.org`, currentPassword: PASSWORD },
        meta,
      ),
    );
    await bench.ask("identity.forgotPassword", { email });
    await expect(bench.signIn(email, "wrong-Passw-0rt")).rejects.toBeDefined();
    const boss = await bench.admin();
    await bench.ask("identity.invite", { email, role: "deliverer" }, boss.meta);
    await bench.ask("identity.signOutEverywhere", {}, meta);
    const { accessToken } = await bench.signIn(email);

    const tables = await bench.sql<{ name: string }>(
      "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'",
    );
    const personal = "canary|41791112233|1987-06-05|203\\.0\\.113\\.77";
    const holding = async () => {
      const found: string[] = [];
      for (const { name } of tables) {
        const rows = await bench.sql(`SELECT 1 FROM "${name}" t WHERE t::text ~* '${personal}'`);
        if (rows.length > 0) found.push(name);
      }
      return found.sort();
    };
    expect(await holding()).toEqual(["accounts", "invitations", "outbox", "profiles", "sessions"]);

    await bench.ask("identity.deleteAccount", { password: PASSWORD }, { token: accessToken });

    const told = await bench.said("user.deleted", (user) => user.userId === userId);
    expect(Object.keys(told).sort()).toEqual(["userId", "version"]);
    expect(await holding()).toEqual([]);
    await expect(bench.signIn(email)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await eventually(() =>
      expect(bench.ask("identity.profile", {}, { token: accessToken })).rejects.toMatchObject({
        type: "SESSION_REVOKED",
      }),
    );
    await expect(bench.customer({ email })).resolves.toBeDefined();
  });

  it("identity.exportData contains the profile, the sessions and the user's actions", async () => {
    const { userId, meta } = await bench.customer({ phone: "+41791234567" });
    const data = await bench.ask("identity.exportData", {}, meta);
    expect(data).toMatchObject({ profile: { id: userId, phone: "+41791234567" }, audit: [], orders: [] });
    expect(data.sessions).toEqual([expect.objectContaining({ current: true })]);
    await bench.ask(
      "identity.changePassword",
      { currentPassword: PASSWORD, newPassword: "Nebelhorn-91-x" },
      meta,
    );
    const again = await bench.ask("identity.exportData", {}, meta);
    expect(again.audit).toEqual([expect.objectContaining({ action: "password.changed", actorId: userId })]);
  });

  describe("identity.exportData of a user with much data", () => {
    const ACTS = 1_000;
    /** A customer with more acts than a request reads. */
    async function withMuchData() {
      const one = await bench.customer();
      await bench.sql(
        `INSERT INTO audit_entries (id, action, subject)
         SELECT gen_random_uuid(), 'a', $1 FROM generate_series(1, ${ACTS})`,
        [one.userId],
      );
      return one;
    }
    const ready = (meta: { token: string }) =>
      eventually(async () => {
        const status = await bench.ask("identity.exportStatus", {}, meta);
        expect(status.state).toBe("ready");
        return status;
      });
    async function pagesOf(meta: { token: string }) {
      const pages = [];
      for (let number = 1; ; number++) {
        const { page, isLast } = await bench.ask("identity.exportPage", { number }, meta);
        pages.push(page);
        if (isLast) return pages;
      }
    }

    it("is made in the background, page by page, once for repeated requests, and only its user reads it", async () => {
      const { userId, meta } = await withMuchData();
      const [first, second] = await Promise.all([1, 2].map(() => bench.ask("identity.exportData", {}, meta)));
      expect(first?.audit).toHaveLength(800);
      expect(first?.file?.requestedAt).toBe(second?.file?.requestedAt);
      const status = await ready(meta);
      expect(status.url).toMatch(/\/api\/v1\/me\/export\/file$/);
      expect(Date.parse(status.expiresAt) - Date.parse(status.requestedAt)).toBe(86_400_000);
      const pages = await pagesOf(meta);
      expect(pages[0]?.profile?.id).toBe(userId);
      const acts = pages.flatMap(({ audit = [] }) => audit.map(({ id }) => id));
      expect([acts.length, new Set(acts).size]).toEqual([ACTS, ACTS]);
      expect((await bench.ask("identity.exportData", {}, meta)).file).toEqual(status);
      const other = await bench.customer();
      for (const name of ["identity.exportStatus", "identity.exportPage"] as const) {
        const params = name === "identity.exportPage" ? { number: 1 } : {};
        const read = bench.ask(name, params as never, other.meta);
        await expect(read).rejects.toMatchObject({ type: "NOT_FOUND" });
      }
    });

    it("is also made for a user with few data, by identity.beginExport, once for a key", async () => {
      const { meta, userId } = await bench.customer();
      const idempotency = { key: newId(), bodyHash: "e".repeat(64) };
      const begin = () => bench.ask("identity.beginExport", {}, { ...meta, idempotency });
      const [first, second] = [await begin(), await begin()];
      expect(second).toEqual(first);
      await ready(meta);
      expect((await pagesOf(meta))[0]?.profile?.id).toBe(userId);
    });

    it("goes on where a crashed process has stopped, after its lease", async () => {
      const { userId, meta } = await withMuchData();
      bench.stand.exportOrders = async () => {
        throw new Error("Orders is away");
      };
      await bench.ask("identity.exportData", {}, meta);
      const step = async () =>
        (
          await bench.sql<{ next_step: string; pages: number }>(
            "SELECT next_step, pages FROM exports WHERE user_id = $1",
            [userId],
          )
        )[0];
      await eventually(async () => expect(await step()).toEqual({ next_step: "orders", pages: 6 }));
      // As a process leaves it that ends during the next page.
      bench.stand.exportOrders = async () => ({ page: { addresses: [], orders: [] } });
      await bench.sql("UPDATE exports SET lease_id = gen_random_uuid(), due_at = now() WHERE user_id = $1", [
        userId,
      ]);
      await ready(meta);
      const pages = await pagesOf(meta);
      expect(pages).toHaveLength(8);
      const acts = pages.flatMap(({ audit = [] }) => audit.map(({ id }) => id));
      expect([acts.length, new Set(acts).size]).toEqual([ACTS, ACTS]);
    });

    it("is not made by a process that has lost its lease", async () => {
      const { userId } = await withMuchData();
      const db = openPool(bench.database, 1);
      const one = { id: newId(), userId, ticket: "t", firstStep: FIRST_STEP, lifeSeconds: 60 };
      await insertExport(db, one);
      await bench.sql(
        "UPDATE exports SET lease_id = gen_random_uuid(), due_at = now() + interval '1 day' WHERE id = $1",
        [one.id],
      );
      const page = { page: {}, nextStep: "orders", leaseMs: 1 };
      expect(await storePage(db, { id: one.id, leaseId: newId() }, page)).toBe(false);
      expect(await bench.sql("SELECT FROM export_pages WHERE export_id = $1", [one.id])).toEqual([]);
      await db.close();
    });

    it("is deleted a day later, and with the account", async () => {
      const [one, other] = [await withMuchData(), await withMuchData()];
      for (const { meta } of [one, other]) {
        await bench.ask("identity.exportData", {}, meta);
        await ready(meta);
      }
      await bench.sql("UPDATE exports SET expires_at = now() WHERE user_id = $1", [one.userId]);
      const expired = bench.ask("identity.exportPage", { number: 1 }, one.meta);
      await expect(expired).rejects.toMatchObject({ type: "NOT_FOUND" });
      await bench.ask("identity.deleteAccount", { password: PASSWORD }, other.meta);
      const left = async () =>
        await bench.sql("SELECT user_id FROM exports WHERE user_id = ANY($1)", [[one.userId, other.userId]]);
      expect(await left()).toEqual([{ user_id: one.userId }]);
      await bench.sweep(async () => expect(await left()).toEqual([]));
      expect((await bench.ask("identity.exportData", {}, one.meta)).file).toMatchObject({
        state: "pending",
      });
    });
  });
});
