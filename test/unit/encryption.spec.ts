import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { DecryptionError, decrypt, encrypt } from "../../lib/encryption.ts";

const keys = { secret: "k".repeat(16) + "a".repeat(16) };
const rotated = { secret: "n".repeat(16) + "b".repeat(16), previousSecret: keys.secret };

describe("encryption", () => {
  it("opens what it sealed, whatever the text and the place", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), (text, place) => {
        expect(decrypt(encrypt(text, keys, place), keys, place)).toBe(text);
      }),
    );
  });

  it("never gives the same text twice, so equal secrets cannot be told from outside", () => {
    expect(encrypt("secret", keys, "banks/1")).not.toBe(encrypt("secret", keys, "banks/1"));
  });

  it("does not open at another place, with another secret or after any change", () => {
    const sealed = encrypt("secret", keys, "banks/1");
    expect(() => decrypt(sealed, keys, "banks/2")).toThrow(DecryptionError);
    expect(() => decrypt(sealed, { secret: rotated.secret }, "banks/1")).toThrow(DecryptionError);
    const body = Buffer.from(sealed.split(".")[2] as string, "base64url");
    for (let at = 0; at < body.length; at++) {
      const changed = Buffer.from(body);
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      const forged = [...sealed.split(".").slice(0, 2), changed.toString("base64url")].join(".");
      expect(() => decrypt(forged, keys, "banks/1")).toThrow(DecryptionError);
    }
    for (const junk of ["", "s1", "s1..", "s1.a.b", `${sealed}.x`, "plain text"]) {
      expect(() => decrypt(junk, keys, "banks/1")).toThrow(DecryptionError);
    }
  });

  it("opens with the former secret while it is being replaced", () => {
    const old = encrypt("secret", keys, "banks/1");
    expect(decrypt(old, rotated, "banks/1")).toBe("secret");
  });
});
