import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type IdentityBench, newAddress, otherCode, PASSWORD, startIdentity } from "../support/identity.ts";
import { statementsOf } from "../support/statements.ts";

const WRONG = "wrong-Passw-0rt";
const NEW_PASSWORD = "Nebelhorn-und-Kaese";
const HOME = { clientIp: "198.51.100.7" };
const STRANGER = { clientIp: "203.0.113.66" };

let bench: IdentityBench;
beforeAll(async () => {
  bench = await startIdentity();
});
afterAll(() => bench.stop());

const refused = { type: "TOO_MANY_REQUESTS", code: 429 };

async function guess(email: string, count: number, meta: (index: number) => { clientIp?: string }) {
  const tries = Array.from({ length: count }, (_, index) =>
    bench.signIn(email, WRONG, meta(index)).then(
      () => "signed in",
      ({ type }) => type as string,
    ),
  );
  return Promise.all(tries);
}

/** Clients of which each is another's: none of them is refused for its own tries. */
const crowd = (index: number) => ({ clientIp: `192.0.2.${index % 250}` });

describe("guessing a password", () => {
  it("locks out the guessing client only", async () => {
    const { email } = await bench.customer();
    const outcomes = await guess(email, 12, () => STRANGER);
    expect(outcomes.filter((type) => type === "INVALID_CREDENTIALS")).toHaveLength(10);
    await expect(bench.signIn(email, PASSWORD, STRANGER)).rejects.toMatchObject(refused);
    await expect(bench.signIn(email, PASSWORD, HOME)).resolves.toBeDefined();
  });

  it("by many clients, is refused to all but the owner's known clients; a new password ends it", async () => {
    const { email } = await bench.customer();
    await bench.signIn(email, PASSWORD, HOME);
    const outcomes = await guess(email, 60, crowd);
    expect(outcomes.filter((type) => type === "INVALID_CREDENTIALS")).toHaveLength(50);
    const late = await bench.signIn(email, PASSWORD, STRANGER).catch((error) => error);
    expect(late).toMatchObject(refused);
    expect(late.data.retryAfterSeconds).toBeGreaterThan(900);
    expect(late.data.retryAfterSeconds).toBeLessThanOrEqual(3_600);
    await expect(bench.signIn(email, PASSWORD, HOME)).resolves.toBeDefined();

    const { code = "" } = await bench.mailed(email, "reset-password", () =>
      bench.ask("identity.forgotPassword", { email }),
    );
    await bench.ask("identity.resetPassword", { email, code, password: NEW_PASSWORD });
    await expect(bench.signIn(email, NEW_PASSWORD, STRANGER)).resolves.toBeDefined();
  });

  it("from the owner's client, has the attempts of that client and no more", async () => {
    const { email } = await bench.customer();
    await bench.signIn(email, PASSWORD, HOME);
    const outcomes = await guess(email, 12, () => HOME);
    expect(outcomes.filter((type) => type === "INVALID_CREDENTIALS")).toHaveLength(10);
    await expect(bench.signIn(email, PASSWORD, HOME)).rejects.toMatchObject(refused);
  });

  it("of the console's account by any number of clients, does not lock out sign-ins from inside", async () => {
    const { email } = await bench.admin();
    await guess(email, 60, crowd);
    await guess(email, 12, () => STRANGER);
    await expect(bench.signIn(email, PASSWORD, STRANGER)).rejects.toMatchObject(refused);
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });

  it("from the addresses of one IPv6 network, counts as one client", async () => {
    const { email } = await bench.customer();
    const outcomes = await guess(email, 12, (index) => ({ clientIp: `2001:db8:1:2::${index + 1}` }));
    expect(outcomes.filter((type) => type === "INVALID_CREDENTIALS")).toHaveLength(10);
    await expect(bench.signIn(email, PASSWORD, { clientIp: "2001:db8:1:2:3::1" })).rejects.toMatchObject(
      refused,
    );
    await expect(bench.signIn(email, PASSWORD, { clientIp: "2001:db8:1:3::1" })).resolves.toBeDefined();
  });

  it("of an unknown address, is limited and gets the same answers", async () => {
    const nobody = `nobody-${newId()}@example.org`;
    const outcomes = await guess(nobody, 60, crowd);
    expect(outcomes.filter((type) => type === "INVALID_CREDENTIALS")).toHaveLength(50);
    expect(outcomes.filter((type) => type === "TOO_MANY_REQUESTS")).toHaveLength(10);
  });

  it("stores no address of a client or a person in plain text, and nothing after an erasure", async () => {
    const { email, meta } = await bench.customer();
    await bench.signIn(email, PASSWORD, HOME);
    await guess(email, 2, () => STRANGER);
    const counted = JSON.stringify(await bench.sql("SELECT * FROM allowances"));
    for (const text of [email, HOME.clientIp, STRANGER.clientIp]) expect(counted).not.toContain(text);
    const before = await bench.sql<{ subject: string }>("SELECT subject FROM allowances");
    await bench.ask("identity.deleteAccount", { password: PASSWORD }, meta);
    const after = await bench.sql<{ subject: string }>("SELECT subject FROM allowances");
    const gone = before.filter(({ subject }) => !after.some((left) => left.subject === subject));
    // Of each client the tries and that the owner uses it; of all together; codes and mails of the registration.
    expect(gone.length).toBeGreaterThanOrEqual(4);
    const owner = gone[0]?.subject.split(".")[0];
    expect(after.filter(({ subject }) => subject.startsWith(owner as string))).toEqual([]);
  });
});

describe("an attempt whose end the database does not receive", () => {
  const guard = "allowances_lose_what_follows";
  const loseEnds = async () => {
    await bench.sql(`CREATE FUNCTION ${guard}() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE 'the connection was lost' USING ERRCODE = '08006'; END $$`);
    await bench.sql(`CREATE TRIGGER no_end BEFORE UPDATE ON allowances FOR EACH ROW
      WHEN (cardinality(new.held) < cardinality(old.held)) EXECUTE FUNCTION ${guard}()`);
    await bench.sql(
      `CREATE TRIGGER no_row_gone BEFORE DELETE ON allowances FOR EACH ROW EXECUTE FUNCTION ${guard}()`,
    );
  };
  const heal = () => bench.sql(`DROP FUNCTION IF EXISTS ${guard} CASCADE`);
  afterEach(heal);

  it("keeps its place for seconds and does not count as a wrong password", async () => {
    const { email } = await bench.customer();
    await loseEnds();
    for (let tries = 0; tries < 10; tries += 1) {
      await expect(bench.signIn(email, PASSWORD, HOME)).rejects.not.toMatchObject(refused);
    }
    const full = await bench.signIn(email, PASSWORD, HOME).catch((error) => error);
    expect(full).toMatchObject(refused);
    expect(full.data.retryAfterSeconds).toBeLessThanOrEqual(5);

    await heal();
    await bench.sql("UPDATE allowances SET held = ARRAY(SELECT at - interval '5 s' FROM unnest(held) AS at)");
    await expect(bench.signIn(email, PASSWORD, HOME)).resolves.toBeDefined();
  });

  it("is not answered as a wrong password", async () => {
    const { email } = await bench.customer();
    await loseEnds();
    await expect(bench.signIn(email, WRONG, HOME)).rejects.not.toMatchObject({ type: "INVALID_CREDENTIALS" });
    await heal();
    const outcomes = await guess(email, 12, () => HOME);
    expect(outcomes.filter((type) => type === "INVALID_CREDENTIALS")).toHaveLength(9);
  });
});

describe("guessing a code", () => {
  const invalid = { type: "CODE_INVALID", code: 422 };
  type Client = { clientIp?: string };
  const reset = (email: string, code: string, meta: Client) =>
    bench.ask("identity.resetPassword", { email, code, password: NEW_PASSWORD }, meta);
  const confirm = (email: string, code: string, meta: Client) =>
    bench.ask("identity.confirm", { email, code }, meta);
  const forgotten = async (email: string) => {
    const values = await bench.mailed(email, "reset-password", () =>
      bench.ask("identity.forgotPassword", { email }),
    );
    return values.code ?? "";
  };
  /** The answers to a series of wrong codes. */
  async function wrong(ways: typeof reset, who: { email: string; code?: string }, metas: Client[]) {
    const answers = [];
    for (const meta of metas) {
      const answer = await ways(who.email, otherCode(who.code ?? ""), meta).catch((error) => error);
      answers.push({ type: answer.type, code: answer.code, message: answer.message });
    }
    return answers;
  }
  const times = (count: number, meta: Client) => Array.from({ length: count }, () => meta);
  const types = (answers: { type: string }[], type: string) => answers.filter((one) => one.type === type);

  it.each([
    ["to reset a password", reset],
    ["to confirm an address", confirm],
  ])("%s, without a valid one, locks out the guessing client only", async (_name, way) => {
    const { email, code } =
      way === confirm
        ? await bench.registered()
        : await bench.customer().then(({ email }) => ({ email, code: "" }));
    await bench.sql("UPDATE verification_codes SET valid_until = now() - interval '1 second'");
    const answers = await wrong(way, { email, code }, times(25, STRANGER));
    expect(types(answers, "CODE_INVALID")).toHaveLength(10);
    expect(types(answers, "TOO_MANY_REQUESTS")).toHaveLength(15);
    const fresh =
      way === reset
        ? await forgotten(email)
        : ((await bench.mailed(email, "confirm-email", () => bench.ask("identity.resendCode", { email })))
            .code ?? "");
    await expect(way(email, fresh, STRANGER)).rejects.toMatchObject(refused);
    await expect(way(email, fresh, HOME)).resolves.toEqual({});
  });

  it("of another requester, has ten attempts and uses up none of the other's", async () => {
    const { email } = await bench.customer();
    const code = await forgotten(email);
    const answers = await wrong(reset, { email, code }, times(12, STRANGER));
    expect(types(answers, "CODE_INVALID")).toHaveLength(10);
    await expect(reset(email, code, HOME)).resolves.toEqual({});
  });

  it("of the same requester, has five attempts for each code", async () => {
    const { email } = await bench.customer();
    const asked = await bench.mailed(email, "reset-password", () =>
      bench.ask("identity.forgotPassword", { email }, HOME),
    );
    await wrong(reset, { email, code: asked.code ?? "" }, times(5, HOME));
    await expect(reset(email, asked.code ?? "", HOME)).rejects.toMatchObject(invalid);
  });

  it("by many who request codes of their own, replaces and uses up none of the owner's", async () => {
    const { email } = await bench.customer();
    const ask = (meta: Client) =>
      bench.mailed(email, "reset-password", () => bench.ask("identity.forgotPassword", { email }, meta));
    const { code = "" } = await ask(HOME);
    for (let index = 0; index < 12; index++) {
      await ask(crowd(index));
      await wrong(reset, { email, code }, times(2, crowd(index)));
    }
    for (let count = 0; count < 6; count++) await bench.ask("identity.forgotPassword", { email }, STRANGER);
    await expect(bench.ask("identity.forgotPassword", { email }, STRANGER)).rejects.toMatchObject(refused);
    await expect(reset(email, code, STRANGER)).rejects.toMatchObject(invalid);
    await expect(reset(email, code, HOME)).resolves.toEqual({});
    await expect(bench.ask("identity.forgotPassword", { email }, HOME)).resolves.toEqual({});
  });

  it("of one purpose, does not affect another purpose", async () => {
    const { email } = await bench.customer();
    await wrong(confirm, { email }, times(30, HOME));
    await expect(reset(email, await forgotten(email), HOME)).resolves.toEqual({});
  });

  it("gets the same answer with and without an account or a code", async () => {
    const { email } = await bench.customer();
    const code = await forgotten(email);
    const known = await wrong(reset, { email, code }, times(12, STRANGER));
    const idle = await wrong(reset, { email: (await bench.customer()).email }, times(12, STRANGER));
    const nobody = await wrong(reset, { email: newAddress() }, times(12, STRANGER));
    expect(idle).toEqual(known);
    expect(nobody).toEqual(known);
  });

  it("by many clients, without a valid one, does not lock out the owner's later code", async () => {
    const { email } = await bench.customer();
    const crowds = Array.from({ length: 60 }, (_, index) => crowd(index));
    await Promise.all(crowds.map((meta) => wrong(reset, { email }, times(2, meta))));
    await expect(reset(email, await forgotten(email), HOME)).resolves.toEqual({});
  });

  it("by many clients, has at most fifty checks a day, and does not lock out the owner's known clients", async () => {
    const { email } = await bench.customer();
    await bench.signIn(email, PASSWORD, HOME);
    const code = await forgotten(email);
    const answers = [];
    for (let tries = 0; tries < 60; tries++) {
      if (tries % 5 === 0) await bench.sql("UPDATE verification_codes SET tries = 0");
      answers.push(...(await wrong(reset, { email, code }, [crowd(tries)])));
    }
    expect(types(answers, "CODE_INVALID")).toHaveLength(50);
    expect(types(answers, "TOO_MANY_REQUESTS")).toHaveLength(10);
    const late = await reset(email, code, STRANGER).catch((error) => error);
    expect(late).toMatchObject(refused);
    expect(late.data.retryAfterSeconds).toBeGreaterThan(3_600);
    expect(late.data.retryAfterSeconds).toBeLessThanOrEqual(86_400);
    await expect(reset(email, code, HOME)).resolves.toEqual({});

    await expect(reset(email, await forgotten(email), STRANGER)).resolves.toEqual({});
  });
});

describe("a limit of tries and mails", () => {
  const DAY_SECONDS = 86_400;
  /** Longer than a few tries take on a busy machine. */
  const SLOW_SECONDS = 60;
  const outcomeOf = (
    done: Promise<unknown>,
  ): Promise<{ type?: string; data?: { retryAfterSeconds: number } }> =>
    done.then(
      () => ({}),
      (error) => error,
    );
  const signIn = (email: string) => bench.signIn(email, WRONG, HOME);
  const askForMail = (email: string) => bench.ask("identity.forgotPassword", { email }, HOME);
  const tryCode = (email: string, code: string) =>
    bench.ask("identity.resetPassword", { email, code: otherCode(code), password: NEW_PASSWORD }, HOME);

  it.each([
    ["wrong passwords for an address by a client", "password", true, 10, 900, signIn],
    ["wrong passwords for an address", "password", false, 50, 3_600, signIn],
    ["wrong passwords by a client", "password-ip", false, 100, 900, signIn],
    ["mails to an address for a requester", "mail", true, 6, 3_600, askForMail],
    ["mails to an address", "mail-address", false, 60, 3_600, askForMail],
    ["wrong codes for an address by a client", "code reset-password", true, 10, DAY_SECONDS, tryCode],
    ["wrong codes of others for an address", "code reset-password", false, 50, DAY_SECONDS, tryCode],
    ["wrong codes of one's own for an address", "code reset-password own", false, 100, DAY_SECONDS, tryCode],
  ])(
    "of %s, permits its number in its window, and holds nothing",
    async (_, scope, ofClient, max, seconds, act) => {
      const { email } = await bench.customer();
      const { code = "" } = await bench.mailed(email, "reset-password", () =>
        bench.ask("identity.forgotPassword", { email }, scope.endsWith("own") ? HOME : STRANGER),
      );
      await bench.sql("DELETE FROM allowances");
      await outcomeOf(act(email, code));
      const filled = await bench.sql(
        "UPDATE allowances SET used = $1 WHERE scope = $2 AND (subject LIKE '%.%') = $3 RETURNING scope",
        [max - 1, scope, ofClient],
      );
      expect(filled).toHaveLength(1);
      expect(await outcomeOf(act(email, code))).not.toMatchObject(refused);
      const { type, data } = await outcomeOf(act(email, code));
      expect(type).toBe("TOO_MANY_REQUESTS");
      expect(data?.retryAfterSeconds).toBeGreaterThan(seconds - SLOW_SECONDS);
      expect(data?.retryAfterSeconds).toBeLessThanOrEqual(seconds);
      expect(await bench.sql("SELECT scope FROM allowances WHERE cardinality(held) > 0")).toEqual([]);
    },
  );

  it.each([
    ["of one's own", HOME],
    ["of another", STRANGER],
  ])("of wrong codes, begins anew after a right code %s", async (_, requester) => {
    const { email } = await bench.customer();
    const { code = "" } = await bench.mailed(email, "reset-password", () =>
      bench.ask("identity.forgotPassword", { email }, requester),
    );
    await bench.sql("DELETE FROM allowances");
    await outcomeOf(tryCode(email, code));
    await bench.ask("identity.resetPassword", { email, code, password: NEW_PASSWORD }, requester);
    const left = await bench.sql("SELECT scope FROM allowances WHERE scope LIKE 'code reset-password%'");
    expect(left).toEqual([]);
  });

  it("by all clients together, does not apply for thirty days to a client that the owner signed in from", async () => {
    const { email } = await bench.customer();
    await bench.signIn(email, PASSWORD, HOME);
    const [known] = await bench.sql<{ seconds: number }>(
      `SELECT extract(epoch FROM renewed_at - now())::float AS seconds FROM allowances
       WHERE scope = 'password-known' ORDER BY updated_at DESC LIMIT 1`,
    );
    expect(known?.seconds).toBeGreaterThan(30 * DAY_SECONDS - SLOW_SECONDS);
    expect(known?.seconds).toBeLessThanOrEqual(30 * DAY_SECONDS);
    await guess(email, 50, crowd);
    await expect(bench.signIn(email, PASSWORD, HOME)).resolves.toBeDefined();
    await bench.sql("UPDATE allowances SET renewed_at = now() WHERE scope = 'password-known'");
    await expect(bench.signIn(email, PASSWORD, HOME)).rejects.toMatchObject(refused);
  });
});

describe("guessing the existence of an account", () => {
  const TABLES = /\b(?:accounts|profiles|verification_codes|allowances|sessions|INSERT INTO outbox)\b/;
  const WRITES = /^\s*(?:INSERT|UPDATE|DELETE)\b/;

  /** The cost of the same request for an unknown address, for an unconfirmed one and for a confirmed one. */
  async function costs(ask: (email: string) => Promise<unknown>) {
    const [waiting, confirmed] = [await bench.registered(), await bench.customer()];
    const found: { statements: number; writes: number }[] = [];
    for (const email of [newAddress(), waiting.email, confirmed.email]) {
      const sent = await statementsOf(TABLES, () => ask(email));
      found.push({ statements: sent.length, writes: sent.filter((sql) => WRITES.test(sql)).length });
    }
    return found;
  }

  it.each<[string, number, (email: string) => Promise<unknown>]>([
    ["identity.signIn", 8, (email) => guess(email, 1, () => STRANGER)],
    ["identity.forgotPassword", 6, (email) => bench.ask("identity.forgotPassword", { email }, STRANGER)],
    ["identity.resendCode", 9, (email) => bench.ask("identity.resendCode", { email }, STRANGER)],
  ])("by the time of %s, finds as many statements and writes for every address", async (_, count, ask) => {
    const [nobody, ...others] = await costs(ask);
    expect(nobody?.statements).toBe(count);
    expect(others).toEqual([nobody, nobody]);
  });

  it("by the time of identity.register, finds the same statements for every address", async () => {
    const person = { password: PASSWORD, firstName: "Grete", lastName: "Hansen" };
    const found = await costs((email) => bench.ask("identity.register", { ...person, email }, STRANGER));
    expect(found.map(({ statements }) => statements)).toEqual([11, 11, 11]);
  });
});
