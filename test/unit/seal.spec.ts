import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { open, SealError, seal } from "../../lib/seal.ts";

const keys = { secret: "k".repeat(16) + "a".repeat(16) };
const rotated = { secret: "n".repeat(16) + "b".repeat(16), previousSecret: keys.secret };

describe("seal", () => {
  it("opens what it sealed, whatever the text and the place", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), (text, place) => {
        expect(open(seal(text, keys, place), keys, place)).toBe(text);
      }),
    );
  });

  it("never gives the same text twice, so equal secrets cannot be told from outside", () => {
    expect(seal("secret", keys, "banks/1")).not.toBe(seal("secret", keys, "banks/1"));
  });

  it("does not open at another place, with another secret or after any change", () => {
    const sealed = seal("secret", keys, "banks/1");
    expect(() => open(sealed, keys, "banks/2")).toThrow(SealError);
    expect(() => open(sealed, { secret: rotated.secret }, "banks/1")).toThrow(SealError);
    const body = Buffer.from(sealed.split(".")[2] as string, "base64url");
    for (let at = 0; at < body.length; at++) {
      const changed = Buffer.from(body);
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      const forged = [...sealed.split(".").slice(0, 2), changed.toString("base64url")].join(".");
      expect(() => open(forged, keys, "banks/1")).toThrow(SealError);
    }
    for (const junk of ["", "s1", "s1..", "s1.a.b", `${sealed}.x`, "plain text"]) {
      expect(() => open(junk, keys, "banks/1")).toThrow(SealError);
    }
  });

  it("opens with the former secret while it is being replaced", () => {
    const old = seal("secret", keys, "banks/1");
    expect(open(old, rotated, "banks/1")).toBe("secret");
  });
});
