import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { newId } from "../../lib/ids.ts";
import { isGenuine, mintRefreshToken, readRefreshToken } from "../../providers/identity/refresh-token.ts";

const keys = { secret: "seal-secret-of-the-tests-0123456789ab" };
const salt = "c2FsdHNhbHRzYWx0c2FsdA";

describe("a refresh token", () => {
  it("made twice for one generation, is the same; for the next one, it differs", () => {
    const sessionId = newId();
    const token = mintRefreshToken({ sessionId, generation: 3 }, salt, keys);
    expect(mintRefreshToken({ sessionId, generation: 3 }, salt, keys)).toBe(token);
    expect(readRefreshToken(token)).toEqual({ sessionId, generation: 3 });
    expect(isGenuine(token, salt, keys)).toBe(true);
    expect(mintRefreshToken({ sessionId, generation: 4 }, salt, keys).split(".")[2]).not.toBe(
      token.split(".")[2],
    );
  });

  it("with another session, generation, salt or secret, is not genuine", () => {
    const sessionId = newId();
    const token = mintRefreshToken({ sessionId, generation: 3 }, salt, keys);
    const [, , mac] = token.split(".");
    expect(isGenuine(`${newId()}.3.${mac}`, salt, keys)).toBe(false);
    expect(isGenuine(`${sessionId}.4.${mac}`, salt, keys)).toBe(false);
    expect(isGenuine(token, "another salt", keys)).toBe(false);
    expect(isGenuine(token, salt, { secret: "another-secret-of-the-tests-0123456789" })).toBe(false);
  });

  it("of the former secret, stays genuine while that is configured", () => {
    const token = mintRefreshToken({ sessionId: newId(), generation: 0 }, salt, keys);
    const replaced = { secret: "a-new-seal-secret-0123456789-abcdef", previousSecret: keys.secret };
    expect(isGenuine(token, salt, replaced)).toBe(true);
  });

  it("changed anywhere, is not genuine", () => {
    const token = mintRefreshToken({ sessionId: newId(), generation: 12 }, salt, keys);
    const place = fc.nat({ max: token.length - 1 });
    fc.assert(
      fc.property(place, fc.string({ minLength: 1, maxLength: 1 }), (at, letter) => {
        const changed = token.slice(0, at) + letter + token.slice(at + 1);
        // The last letter of 32 bytes in base64 holds two bits that mean nothing.
        const sameMeaning = Buffer.from(changed.split(".")[2] ?? "", "base64url").equals(
          Buffer.from(token.split(".")[2] ?? "", "base64url"),
        );
        return (
          changed === token || (at === token.length - 1 && sameMeaning) || !isGenuine(changed, salt, keys)
        );
      }),
      { numRuns: 500 },
    );
  });
});
