import { derivedId } from "../../../lib/ids.ts";

/** Letters that cannot be confused with a digit. */
const LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ";
const PREFIXES = LETTERS.length * 10;
/** The digits after the prefix, for each candidate. Longer ones are for partners with many thousands of orders a day. */
const DIGITS = [3, 3, 3, 4, 6];
const HEX_DIGITS_PER_CANDIDATE = 6;

/**
 * The numbers that an order may get, as `K7-042`, the preferred one first. They follow from the order's id like a draw by
 * lot: a counter would be a row for which all confirmations of a partner wait, and would show how much a partner sells.
 */
export function numberCandidates(orderId: string): string[] {
  const hex = derivedId("order_number", orderId).replaceAll("-", "");
  // Without the digits that each such id has in common.
  const drawn = hex.slice(0, 12) + hex.slice(13, 16) + hex.slice(17);
  return DIGITS.map((digits, index) => {
    const start = index * HEX_DIGITS_PER_CANDIDATE;
    const value = Number.parseInt(drawn.slice(start, start + HEX_DIGITS_PER_CANDIDATE), 16);
    const prefix = value % PREFIXES;
    const count = Math.floor(value / PREFIXES) % 10 ** digits;
    return `${LETTERS[Math.floor(prefix / 10)]}${prefix % 10}-${String(count).padStart(digits, "0")}`;
  });
}
