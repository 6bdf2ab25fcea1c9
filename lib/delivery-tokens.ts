import { createHmac, timingSafeEqual } from "node:crypto";
import { isId } from "./ids.ts";

const MAC_BYTES = 16;
const TIME_BYTES = 6;
const ID_BYTES = 16;
const PICKUP_CODE_LENGTH = 8;
/** No letters and digits that are mistaken for each other. */
const PICKUP_CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789";
/** Longer than an order takes. The tracking page itself ends earlier: one day after the order. */
const TRACKING_LIFETIME_MS = 7 * 86_400_000;

/** PINs and tracking tokens. Both are derived from the order and a secret, so that they need no storage. */
export interface DeliveryTokens {
  /** Four digits, shown to the customer only. */
  pinOf(orderId: string): string;
  isPin(orderId: string, pin: string): boolean;
  /** Eight letters and digits, shown to the partner, as text or as a code to scan. */
  pickupCodeOf(orderId: string): string;
  /** The token for the tracking page of an order, valid for seven days from its creation. */
  trackingTokenOf(orderId: string, createdAt: string): string;
  /** The id of the order of a token; undefined for an invalid or expired token. */
  orderOfToken(token: string, nowMs: number): string | undefined;
}

export function deliveryTokens(secret: string): DeliveryTokens {
  const mac = (purpose: string, content: string | Buffer) =>
    createHmac("sha256", secret).update(`${purpose}\n`).update(content).digest();

  const pinOf = (orderId: string) =>
    // 2^48 is so much larger than 10,000 that the PINs are practically uniform.
    String(mac("pin", orderId).readUIntBE(0, 6) % 10_000).padStart(4, "0");

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
