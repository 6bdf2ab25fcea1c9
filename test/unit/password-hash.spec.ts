import { describe, expect, it } from "@jest/globals";
import { PASSWORD_COST, passwordHasher } from "../../providers/identity/password-hash.ts";

const cheap = { memoryKiB: 64, passes: 1 };

describe("the password hasher", () => {
  it("makes a hash that matches its password, in either spelling of Unicode, and no other", async () => {
    const hasher = passwordHasher(cheap);
    const hash = await hasher.hash("Zoë’s passphrase".normalize("NFC"));
    await expect(hasher.matches("Zoë’s passphrase".normalize("NFD"), hash)).resolves.toBe(true);
    await expect(hasher.matches("Zoe’s passphrase", hash)).resolves.toBe(false);
  });

  it("makes two different hashes of one password, with their cost", async () => {
    const hasher = passwordHasher(cheap);
    const [first, second] = [await hasher.hash("a passphrase"), await hasher.hash("a passphrase")];
    expect(first).not.toBe(second);
    expect(first).toMatch(/^\$argon2id\$v=19\$m=64,t=1,p=1\$[^$]+\$[^$]+$/);
    expect(hasher.isOutdated(first)).toBe(false);
    expect(passwordHasher().isOutdated(first)).toBe(true);
  });

  it("checks a hash of another cost at that cost", async () => {
    const hash = await passwordHasher(cheap).hash("a passphrase");
    await expect(passwordHasher({ memoryKiB: 128, passes: 2 }).matches("a passphrase", hash)).resolves.toBe(
      true,
    );
  });

  it("matches nothing with a damaged hash and with that of an unknown user", async () => {
    const hasher = passwordHasher(cheap);
    for (const hash of [undefined, "", "$argon2id$v=19$m=64,t=1,p=1$short$hash", "plain text"]) {
      await expect(hasher.matches("", hash)).resolves.toBe(false);
    }
  });

  it("without a hash, does the work of a real one", async () => {
    const hasher = passwordHasher();
    const hash = await hasher.hash("a passphrase");
    // The processor's time, which does not depend on what else the machine does.
    const workOf = async (known: string | undefined) => {
      const before = process.cpuUsage();
      await hasher.matches("another passphrase", known);
      const { user, system } = process.cpuUsage(before);
      return user + system;
    };
    const least = async (known: string | undefined) =>
      Math.min(await workOf(known), await workOf(known), await workOf(known));
    const [nobody, somebody] = [await least(undefined), await least(hash)];
    expect(nobody).toBeGreaterThan(somebody / 3);
    expect(somebody).toBeGreaterThan(nobody / 3);
  });

  it("has the cost that OWASP recommends by default", () => {
    expect(PASSWORD_COST).toEqual({ memoryKiB: 19_456, passes: 2 });
  });

  it("refuses passwords beyond its capacity, and accepts them again afterwards", async () => {
    const hasher = passwordHasher(cheap);
    const outcomes = await Promise.all(
      Array.from({ length: 60 }, () =>
        hasher.matches("x", undefined).catch((error) => (error as { kind: string }).kind),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === false)).toHaveLength(48);
    expect(outcomes.filter((outcome) => outcome === "overloaded")).toHaveLength(12);
    await expect(hasher.matches("x", undefined)).resolves.toBe(false);
  });
});
