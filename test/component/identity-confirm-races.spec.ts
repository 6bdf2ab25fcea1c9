import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { IdentityError, type IdentityProvider } from "../../providers/identity/index.ts";
import { eventually } from "../support/eventually.ts";
import { type IdentityBench, newAddress, PASSWORD, startIdentity } from "../support/identity.ts";

const STRANGERS = "Nebelhorn-und-Kaese";

const PATIENT_MS = 60_000;
/** Of this, a request waits for the lock of an address, which gates keep. */
const REQUEST_TIMEOUT_MS = 5_000;

type Step = (work: () => Promise<unknown>) => Promise<void>;
const straight: Step = async (work) => {
  await work();
};
/** The steps before and after the provider's part of a registration or confirmation. */
const steps: Record<"register" | "markConfirmed" | "remove", Step> = {
  register: straight,
  markConfirmed: straight,
  remove: straight,
};

let bench: IdentityBench;
beforeAll(async () => {
  bench = await startIdentity({
    requestTimeoutMs: PATIENT_MS, // a gate may stay closed for as long as a busy machine takes
    settings: { REQUEST_TIMEOUT_MS },
    around: (provider) => ({
      ...provider,
      async register(account) {
        let made: Awaited<ReturnType<IdentityProvider["register"]>> | undefined;
        await steps.register(async () => {
          made = await provider.register(account);
        });
        if (!made) throw new IdentityError("unavailable");
        return made;
      },
      markConfirmed: (userId) => steps.markConfirmed(() => provider.markConfirmed(userId)),
      remove: (userId) => steps.remove(() => provider.remove(userId)),
    }),
  });
});
afterEach(() => {
  steps.register = straight;
  steps.markConfirmed = straight;
  steps.remove = straight;
});
afterAll(() => bench.stop());

/** Lets the next call of a step wait, before its work or after it, until the gate is opened. */
function gate(step: keyof typeof steps, side: "before" | "after") {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const reached = new Promise<void>((resolve) => {
    steps[step] = async (work) => {
      steps[step] = straight;
      if (side === "after") await work();
      resolve();
      await opened;
      if (side === "before") await work();
    };
  });
  return { reached, open };
}

const person = { firstName: "Grete", lastName: "Hansen" };
const register = (email: string, password: string) =>
  bench.ask("identity.register", { ...person, email, password });
const confirm = (email: string, code: string) => bench.ask("identity.confirm", { email, code });
const resent = (email: string) =>
  bench.mailed(email, "confirm-email", () => bench.ask("identity.resendCode", { email }));
/** The mails that were asked for to an address. */
const letters = (email: string) =>
  bench.seen.flatMap(({ type, data }) => {
    const { email: to, template } = data as { email?: string; template?: string };
    return type === "notification.requested" && to === email ? [template] : [];
  });
/** How many want a turn at what is being done for an address; no other is under way here. */
const wanting = async () => {
  const rows = await bench.sql<{ used: number }>("SELECT used FROM allowances WHERE scope = 'sign-up'");
  return rows[0]?.used ?? 0;
};

const invalid = { type: "CODE_INVALID" };
const wrong = { type: "INVALID_CREDENTIALS" };
const unconfirmed = { type: "EMAIL_NOT_CONFIRMED" };

describe("a code and a stranger's registration for the same address", () => {
  it("the code becomes invalid before the stranger's password replaces the owner's", async () => {
    const { email, code } = await bench.registered();
    const { reached, open } = gate("register", "after");
    const strangers = register(email, STRANGERS);
    await reached;
    await expect(confirm(email, code)).rejects.toMatchObject(invalid);
    open();
    await strangers;
    await expect(bench.signIn(email, STRANGERS)).rejects.toMatchObject(unconfirmed);
  });

  it("the code is invalid after an interrupted registration; a new registration sends a new one", async () => {
    const { email, code } = await bench.registered();
    steps.register = async (work) => {
      await work();
      throw new IdentityError("unavailable");
    };
    await expect(register(email, STRANGERS)).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    steps.register = straight;
    await expect(confirm(email, code)).rejects.toMatchObject(invalid);
    await expect(bench.signIn(email, STRANGERS)).rejects.toMatchObject(unconfirmed);

    const again = await bench.registered({ email });
    await confirm(email, again.code);
    await expect(bench.signIn(email, STRANGERS)).rejects.toMatchObject(wrong);
    await expect(bench.signIn(email, PASSWORD)).resolves.toBeDefined();
  });

  it("a registration waits for a running confirmation, and then finds the address taken", async () => {
    const { email, code } = await bench.registered();
    const { reached, open } = gate("markConfirmed", "before");
    const owners = confirm(email, code);
    await reached;
    let done = false;
    const strangers = register(email, STRANGERS).finally(() => {
      done = true;
    });
    await eventually(async () => expect(done || (await wanting()) > 1).toBe(true));
    expect(done).toBe(false);
    open();
    await Promise.all([owners, strangers]);
    await eventually(() => expect(letters(email)).toEqual(["confirm-email", "account-exists"]));
    await expect(bench.signIn(email, STRANGERS)).rejects.toMatchObject(wrong);
    await expect(bench.signIn(email, PASSWORD)).resolves.toBeDefined();
  });

  it("a confirmation whose code is replaced between its check and its turn, is refused", async () => {
    const { email, code } = await bench.registered();
    const [{ subject, address } = { subject: "", address: "" }] = await bench.sql<
      Record<"subject" | "address", string>
    >("SELECT subject, address FROM verification_codes ORDER BY updated_at DESC LIMIT 1");
    await bench.sql("INSERT INTO allowances VALUES ('sign-up', $1, 1, now() + interval '30 seconds')", [
      address,
    ]);
    const owners = confirm(email, code).catch((error) => error);
    await eventually(async () => expect(await wanting()).toBeGreaterThan(1));
    await bench.sql("UPDATE verification_codes SET code_hash = 'another' WHERE subject = $1", [subject]);
    await bench.sql("DELETE FROM allowances WHERE scope = 'sign-up'");
    expect(await owners).toMatchObject(invalid);
    await expect(bench.signIn(email)).rejects.toMatchObject(unconfirmed);
  });

  it("a code sent again during a registration does not confirm the former one", async () => {
    const { email } = await bench.registered();
    const { reached, open } = gate("register", "after");
    const strangers = register(email, STRANGERS);
    await reached;
    const again = bench.ask("identity.resendCode", { email });
    await eventually(async () => expect((await wanting()) > 1 || letters(email).length > 1).toBe(true));
    expect(letters(email)).toEqual(["confirm-email"]);
    open();
    await Promise.all([strangers, again]);
  });

  it("two concurrent registrations take turns: the later one counts", async () => {
    const email = newAddress();
    const { reached, open } = gate("register", "before");
    const strangers = register(email, STRANGERS);
    await reached;
    const owners = register(email, PASSWORD);
    await eventually(async () => expect(await wanting()).toBeGreaterThan(1));
    open();
    await Promise.all([strangers, owners]);
    await eventually(() => expect(letters(email)).toEqual(["confirm-email", "confirm-email"]));
    const { code = "" } = await resent(email);
    await confirm(email, code);
    await expect(bench.signIn(email, PASSWORD)).resolves.toBeDefined();
  });

  it("waits no longer than a client does", async () => {
    const { email, code } = await bench.registered();
    const { reached, open } = gate("markConfirmed", "before");
    const owners = confirm(email, code);
    await reached;
    await expect(register(email, STRANGERS)).rejects.toMatchObject({ type: "OVERLOADED", code: 503 });
    open();
    await owners;
    await expect(bench.signIn(email, PASSWORD)).resolves.toBeDefined();
  });
});

describe("identity.confirm, interrupted", () => {
  it("before the provider's part, has used up the code; a new one works", async () => {
    const { email, code } = await bench.registered();
    steps.markConfirmed = async () => {
      throw new IdentityError("unavailable");
    };
    await expect(confirm(email, code)).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    steps.markConfirmed = straight;
    await expect(confirm(email, code)).rejects.toMatchObject(invalid);
    await expect(bench.signIn(email)).rejects.toMatchObject(unconfirmed);
    const { code: fresh = "" } = await resent(email);
    await confirm(email, fresh);
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });

  it("after the provider's part, is completed by the first sign-in, and the customer is announced once", async () => {
    const { email, userId, code } = await bench.registered();
    steps.markConfirmed = async (work) => {
      await work();
      throw new IdentityError("unavailable");
    };
    await expect(confirm(email, code)).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    const { accessToken: token } = await bench.signIn(email);
    await bench.signIn(email);
    await expect(bench.ask("identity.profile", {}, { token })).resolves.toMatchObject({
      emailConfirmed: true,
    });
    await bench.said("user.registered", (user) => user.userId === userId);
    const told = bench.seen.filter(({ type, subject }) => type === "user.registered" && subject === userId);
    expect(told).toHaveLength(1);
  });
});

describe("an erasure and a registration or confirmation for the same address", () => {
  const age = (userId: string) =>
    bench.sql("UPDATE profiles SET updated_at = now() - interval '8 days' WHERE id = $1", [userId]);
  const erasuresLeft = (userId: string) =>
    bench.sql("SELECT user_id FROM erasures WHERE user_id = $1", [userId]);

  it("the sweep of old registrations skips one whose confirmation has begun", async () => {
    const { email, userId, code } = await bench.registered();
    await age(userId);
    const { reached, open } = gate("register", "before");
    const confirming = confirm(email, code);
    await reached;
    await bench.sweep(async () => expect(await wanting()).toBeGreaterThan(1));
    open();
    await confirming;
    const { accessToken: token } = await bench.signIn(email);
    await expect(bench.ask("identity.profile", {}, { token })).resolves.toMatchObject({ id: userId });
  });

  it("a confirmation during the removal of the registration by the sweep, is refused", async () => {
    const { email, userId, code } = await bench.registered();
    await age(userId);
    const { reached, open } = gate("remove", "before");
    const swept = bench.sweep(async () => {
      expect(await bench.sql("SELECT 1 FROM profiles WHERE id = $1", [userId])).toEqual([]);
      expect(await erasuresLeft(userId)).toEqual([]);
    });
    await reached;
    const refused = expect(confirm(email, code)).rejects.toMatchObject(invalid);
    open();
    await Promise.all([swept, refused]);
    await expect(bench.signIn(email)).rejects.toMatchObject(wrong);
  });

  it.each([true, false])(
    "a registration after an interrupted erasure (confirmed: %s), is a separate account that stays",
    async (confirmed) => {
      const { email, userId, code } = await bench.registered();
      steps.remove = async () => {
        throw new IdentityError("unavailable");
      };
      if (confirmed) {
        await confirm(email, code);
        const { accessToken: token } = await bench.signIn(email);
        await bench.ask("identity.deleteAccount", { password: PASSWORD }, { token });
      } else {
        await age(userId);
        await bench.sweep(async () => expect(await erasuresLeft(userId)).toHaveLength(1));
      }
      steps.remove = straight;

      const again = await bench.registered({ email, password: STRANGERS });
      expect(again.userId).not.toBe(userId);
      expect(await erasuresLeft(userId)).toEqual([]);
      await confirm(email, again.code);
      const { accessToken: token } = await bench.signIn(email, STRANGERS);
      await expect(bench.ask("identity.profile", {}, { token })).resolves.toMatchObject({ id: again.userId });
    },
  );
});

describe("registrations of one address by several requesters", () => {
  const HOME = { clientIp: "198.51.100.7" };
  const STRANGER = { clientIp: "203.0.113.66" };
  const registered = async (email: string, password: string, meta: { clientIp: string }) =>
    (
      await bench.mailed(email, "confirm-email", () =>
        bench.ask("identity.register", { ...person, email, password }, meta),
      )
    ).code ?? "";
  const confirmed = (email: string, code: string, meta: { clientIp?: string }, password?: string) =>
    bench.ask("identity.confirm", { email, code, ...(password && { password }) }, meta);

  it("a stranger's newest code does not confirm the stranger's password for the owner", async () => {
    const email = newAddress();
    const own = await registered(email, PASSWORD, HOME);
    const newest = await registered(email, STRANGERS, STRANGER);
    if (newest !== own) await expect(confirmed(email, newest, HOME)).rejects.toMatchObject(invalid);
    await confirmed(email, own, HOME);
    await expect(bench.signIn(email, STRANGERS)).rejects.toMatchObject(wrong);
    await expect(bench.signIn(email, PASSWORD)).resolves.toBeDefined();
    await confirmed(email, newest, STRANGER);
    await expect(bench.signIn(email, STRANGERS)).rejects.toMatchObject(wrong);
  });

  it("the code confirms the name, phone and push token of its own registration", async () => {
    const email = newAddress();
    const pushToken = { provider: "sandbox", token: "phone-of-eve" } as const;
    const code = await registered(email, PASSWORD, HOME);
    const eve = { ...person, firstName: "Eve", email, password: STRANGERS, pushToken };
    await bench.ask("identity.register", eve, STRANGER);
    await confirmed(email, code, HOME);
    const told = await bench.said("user.registered", (user) => user.email === email);
    expect(told).toMatchObject({ firstName: "Grete" });
    expect(told).not.toHaveProperty("pushToken");
  });

  it("strangers' registrations and wrong codes use up neither the owner's mails nor the owner's code", async () => {
    const email = newAddress();
    const code = await registered(email, PASSWORD, HOME);
    for (let count = 0; count < 6; count++) await registered(email, STRANGERS, STRANGER);
    await expect(registered(email, STRANGERS, STRANGER)).rejects.toMatchObject({ type: "TOO_MANY_REQUESTS" });
    for (let tries = 0; tries < 6; tries++) {
      await confirmed(email, code === "000000" ? "111111" : "000000", STRANGER).catch(() => undefined);
    }
    const again = await bench.mailed(email, "confirm-email", () =>
      bench.ask("identity.resendCode", { email }, HOME),
    );
    await confirmed(email, again.code ?? "", HOME);
    await expect(bench.signIn(email, PASSWORD)).resolves.toBeDefined();
  });

  it("a code that a stranger requests again leaves the owner's valid", async () => {
    const email = newAddress();
    const code = await registered(email, PASSWORD, HOME);
    await bench.ask("identity.resendCode", { email }, STRANGER);
    await confirmed(email, code, HOME);
    await expect(bench.signIn(email, PASSWORD)).resolves.toBeDefined();
  });

  it("with the password, a code counts for the registration with that password only", async () => {
    const { email, code } = await bench.registered();
    await expect(confirmed(email, code, {}, STRANGERS)).rejects.toMatchObject(invalid);
    await confirmed(email, code, {}, PASSWORD);
    await expect(bench.signIn(email, PASSWORD)).resolves.toBeDefined();
  });

  it("no password of an unconfirmed registration is stored in plain text", async () => {
    const { email } = await bench.registered();
    const rows = await bench.sql("SELECT * FROM verification_codes");
    expect(JSON.stringify(rows)).not.toContain(PASSWORD);
    expect(JSON.stringify(rows)).not.toContain(email);
  });
});
