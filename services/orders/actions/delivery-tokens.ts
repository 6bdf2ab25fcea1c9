import { createHmac, timingSafeEqual } from "node:crypto";
import { deliveryPin } from "../../../lib/delivery-pin.ts";
import { isId } from "../../../lib/ids.ts";
import type { DeliveryTokens } from "../dependencies.ts";

const MAC_BYTES = 16;
const TIME_BYTES = 6;
const ID_BYTES = 16;
const PICKUP_CODE_LENGTH = 8;
/** No letters and digits that are mistaken for each other. */
const PICKUP_CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789";
/** Longer than an order takes. The tracking page itself ends earlier: one day after the order. */
const TRACKING_LIFETIME_MS = 7 * 86_400_000;

export function deliveryTokens(secret: string): DeliveryTokens {
  const mac = (purpose: string, content: string | Buffer) =>
    createHmac("sha256", secret).update(`${purpose}\n`).update(content).digest();

  const pinOf = (orderId: string) => deliveryPin(secret, orderId);

  return {
    pinOf,
    pickupCodeOf: (orderId) =>
      [...mac("pickup", orderId).subarray(0, PICKUP_CODE_LENGTH)]
        .map((byte) => PICKUP_CODE_LETTERS[byte % PICKUP_CODE_LETTERS.length])
        .join(""),
    isPin: (orderId, pin) => {
      const expected = Buffer.from(pinOf(orderId));
      const given = Buffer.from(pin);
      return given.length === expected.length && timingSafeEqual(given, expected);
    },
    trackingTokenOf(orderId, createdAt) {
      const content = Buffer.alloc(ID_BYTES + TIME_BYTES);
      content.write(orderId.replaceAll("-", ""), "hex");
      content.writeUIntBE(Date.parse(createdAt) + TRACKING_LIFETIME_MS, ID_BYTES, TIME_BYTES);
      const tag = mac("tracking", content).subarray(0, MAC_BYTES);
      return Buffer.concat([content, tag]).toString("base64url");
    },
    orderOfToken(token, nowMs) {
      const bytes = Buffer.from(token, "base64url");
      if (bytes.length !== ID_BYTES + TIME_BYTES + MAC_BYTES) return undefined;
      const content = bytes.subarray(0, ID_BYTES + TIME_BYTES);
      const tag = mac("tracking", content).subarray(0, MAC_BYTES);
      if (!timingSafeEqual(bytes.subarray(ID_BYTES + TIME_BYTES), tag)) return undefined;
      if (content.readUIntBE(ID_BYTES, TIME_BYTES) <= nowMs) return undefined;
      const hex = content.toString("hex", 0, ID_BYTES);
      const orderId = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
      return isId(orderId) ? orderId : undefined;
    },
  };
}
