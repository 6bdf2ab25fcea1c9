import { createHmac } from "node:crypto";

/**
 * The PIN that proves the handover of an order to its customer: four digits, derived from the order and
 * HANDOVER_SECRET, so that it needs no storage.
 */
export function deliveryPin(secret: string, orderId: string): string {
  const mac = createHmac("sha256", secret).update("pin\n").update(orderId).digest();
  // 2^48 is so much larger than 10,000 that the PINs are practically uniform.
  return String(mac.readUIntBE(0, 6) % 10_000).padStart(4, "0");
}
