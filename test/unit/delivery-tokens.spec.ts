import { describe, expect, it } from "@jest/globals";
import { deliveryTokens } from "../../lib/delivery-tokens.ts";
import { newId } from "../../lib/ids.ts";

const WEEK_MS = 7 * 86_400_000;
const CREATED_AT = "2026-01-01T12:00:00.000Z";
const endMs = Date.parse(CREATED_AT) + WEEK_MS;
const tokens = deliveryTokens("a secret");

describe("the token of a tracking page", () => {
  const orderId = newId();
  const token = tokens.trackingTokenOf(orderId, CREATED_AT);

  it("identifies its order for a week, to the millisecond", () => {
    expect(tokens.orderOfToken(token, endMs - 1)).toBe(orderId);
    expect(tokens.orderOfToken(token, endMs)).toBeUndefined();
  });

  it("changed in any byte, shortened, or made with another secret, identifies no order", () => {
    const bytes = Buffer.from(token, "base64url");
    for (const index of bytes.keys()) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(index) ^ 1, index);
      expect(tokens.orderOfToken(changed.toString("base64url"), endMs - 1)).toBeUndefined();
    }
    const others = [token.slice(0, -2), "", deliveryTokens("another").trackingTokenOf(orderId, CREATED_AT)];
    for (const other of others) expect(tokens.orderOfToken(other, endMs - 1)).toBeUndefined();
  });
});

describe("the PIN of an order", () => {
  it("has four digits, and no other text is accepted for it", () => {
    for (let count = 0; count < 100; count++) {
      const orderId = newId();
      const pin = tokens.pinOf(orderId);
      expect(pin).toMatch(/^\d{4}$/);
      expect(tokens.isPin(orderId, pin)).toBe(true);
      for (const wrong of [
        "",
        `${pin}0`,
        pin.slice(1),
        String((Number(pin) + 1) % 10_000).padStart(4, "0"),
      ]) {
        expect(tokens.isPin(orderId, wrong)).toBe(false);
      }
    }
  });
});
