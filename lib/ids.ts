import { createHash, randomFillSync } from "node:crypto";

const ID_BYTES = 16;
/** Random bytes for the next ids. One call fills many: a call for each id would cost more than the rest of it. */
const randomBytes = Buffer.alloc(256 * ID_BYTES);
let used = randomBytes.length;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * A new UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix time in milliseconds, the rest random.
 * Later ids sort after earlier ones, so a primary key is also the order of arrival, and its index stays dense.
 */
export function newId(nowMs: number = Date.now()): string {
  const bytes = freshBytes();
  bytes.writeUIntBE(nowMs, 0, 6);
  return format(bytes, 0x70);
}

/**
 * The constant id of `name` within `scope` (UUIDv8 over SHA-256, RFC 9562, section 5.8).
 * For rows that must get the same id when they are created again: the repeat then violates the unique key.
 */
export function derivedId(scope: string, name: string): string {
  return format(createHash("sha256").update(`${scope}\n${name}`).digest().subarray(0, 16), 0x80);
}

/** Whether `value` is a UUID in lower case with hyphens, the only spelling that this project writes. */
export function isId(value: unknown): value is string {
  return typeof value === "string" && UUID.test(value);
}

/** The smallest UUIDv7 of a moment. All earlier ids sort before it. */
export function firstIdAt(ms: number): string {
  const bytes = Buffer.alloc(ID_BYTES);
  bytes.writeUIntBE(Math.max(0, ms), 0, 6);
  return format(bytes, 0x70);
}

/** The moment at which a UUIDv7 was created, in milliseconds of Unix time. */
export function idTimeMs(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** Random bytes that no other id gets. */
function freshBytes(): Buffer {
  if (used === randomBytes.length) {
    randomFillSync(randomBytes);
    used = 0;
  }
  used += ID_BYTES;
  return randomBytes.subarray(used - ID_BYTES, used);
}

function format(bytes: Buffer, version: number): string {
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | version, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
