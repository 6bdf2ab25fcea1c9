import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { DecryptionError, decrypt, encrypt } from "../../lib/encryption.ts";

const keys = { secret: "k".repeat(16) + "a".repeat(16) };
const rotated = { secret: "n".repeat(16) + "b".repeat(16), previousSecret: keys.secret };

describe("encryption", () => {
  it("decrypts every encrypted text with the same aad", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), (text, aad) => {
        expect(decrypt(encrypt(text, keys, aad), keys, aad)).toBe(text);
      }),
    );
  });

  it("of equal texts differs, so that equal secrets cannot be recognized", () => {
    expect(encrypt("secret", keys, "banks/1")).not.toBe(encrypt("secret", keys, "banks/1"));
  });

  it("fails for another aad, another secret or a changed text", () => {
    const encrypted = encrypt("secret", keys, "banks/1");
    expect(() => decrypt(encrypted, keys, "banks/2")).toThrow(DecryptionError);
    expect(() => decrypt(encrypted, { secret: rotated.secret }, "banks/1")).toThrow(DecryptionError);
    const body = Buffer.from(encrypted.split(".")[2] as string, "base64url");
    for (let at = 0; at < body.length; at++) {
      const changed = Buffer.from(body);
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      const forged = [...encrypted.split(".").slice(0, 2), changed.toString("base64url")].join(".");
      expect(() => decrypt(forged, keys, "banks/1")).toThrow(DecryptionError);
    }
    for (const junk of ["", "s1", "s1..", "s1.a.b", `${encrypted}.x`, "plain text"]) {
      expect(() => decrypt(junk, keys, "banks/1")).toThrow(DecryptionError);
    }
  });

  it("decrypts with the previous secret during a rotation", () => {
    const old = encrypt("secret", keys, "banks/1");
    expect(decrypt(old, rotated, "banks/1")).toBe("secret");
  });
});
