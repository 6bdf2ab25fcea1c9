import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type IdentityBench, PASSWORD, startIdentity } from "../support/identity.ts";

/*
 * Guards that a second guard hides: each test takes the second one away first, by letting its time pass in the
 * database.
 */

const WRONG = "wrong-Passw-0rt";
const NEW_PASSWORD = "Nebelhorn-und-Kaese";
const TRIES = 10;

let bench: IdentityBench;
beforeAll(async () => {
  bench = await startIdentity();
});
afterAll(() => bench.stop());

/** Places that tries under way hold end after 5 s; what stays is what was counted. */
const letHoldsEnd = () => bench.sql("UPDATE allowances SET held = '{}'");

describe("wrong passwords of an action that requires the password", () => {
  const acts = {
    "identity.changePassword": (meta: { token: string }, password: string) =>
      bench.ask("identity.changePassword", { currentPassword: password, newPassword: NEW_PASSWORD }, meta),
    "identity.deleteAccount": (meta: { token: string }, password: string) =>
      bench.ask("identity.deleteAccount", { password }, meta),
  };

  it.each(Object.entries(acts))("%s, still count when no attempt is running any more", async (_, act) => {
    const { meta } = await bench.customer();
    for (let tries = 0; tries < TRIES; tries++) {
      await expect(act(meta, WRONG)).rejects.toMatchObject({ type: "INVALID_CREDENTIALS" });
    }
    await letHoldsEnd();
    await expect(act(meta, PASSWORD)).rejects.toMatchObject({ type: "TOO_MANY_REQUESTS" });
  });
});

describe("an accepted invitation", () => {
  it("is refused to a second person after the first claim has ended", async () => {
    const { token, email } = await bench.invited("deliverer");
    const person = { token, password: PASSWORD, firstName: "Jonas", lastName: "Meier" };
    await bench.ask("identity.acceptInvitation", person);
    await bench.sql("UPDATE invitations SET claimed_until = 'epoch' WHERE email = $1", [email]);
    const again = bench.ask("identity.acceptInvitation", { ...person, password: NEW_PASSWORD });
    await expect(again).rejects.toMatchObject({ type: "INVITATION_INVALID" });
    await expect(bench.signIn(email)).resolves.toBeDefined();
  });
});
