/**
 * Why an object could not be kept or fetched: the caller's mistake, a store that cannot be used now, or settings
 * with which it never can; only then the message says more, and names the setting without its value.
 */
export class StorageError extends Error {
  readonly kind: "invalid_key" | "unavailable" | "misconfigured";

  constructor(kind: StorageError["kind"], cause?: unknown, message: string = kind) {
    super(message, { cause });
    this.kind = kind;
  }
}

/**
 * Keeps objects of some megabytes under keys such as `avatars/<user id>.webp`: segments of small letters,
 * digits, hyphens, underscores and dots, joined by slashes. What a reader gets is one whole version, never a
 * mixture of two. Every method can fail with `unavailable`, and all may be repeated.
 */
export interface Storage {
  /**
   * Makes the store usable, once and before anything is asked of it, which does so else by itself.
   * @throws misconfigured, when no waiting will help
   */
  open(): Promise<void>;
  /**
   * Keeps the bytes, in place of what was there; they are safe once it resolves.
   * @param contentType told to whoever reads the store by other means
   * @throws invalid_key
   */
  put(key: string, bytes: Uint8Array, contentType?: string): Promise<void>;
  /** Undefined when there is no such object. @throws invalid_key */
  get(key: string): Promise<Buffer | undefined>;
  /** No error when there is no such object. @throws invalid_key */
  delete(key: string): Promise<void>;
  /** The first keys, in their order, that begin with `prefix`, which ends in a slash. @throws invalid_key */
  list(prefix: string, limit: number): Promise<string[]>;
  /** Whether an object could be kept now. */
  ready(): Promise<boolean>;
  /** Lets go of connections. Nothing may be asked afterwards. */
  close(): void;
}

const MAX_KEY_LENGTH = 300;
const KEY = /^[a-z0-9][a-z0-9._-]{0,127}(?:\/[a-z0-9][a-z0-9._-]{0,127})*$/;

/** @throws StorageError invalid_key for what is no beginning of keys that ends in a slash */
export function requirePrefix(prefix: string): string {
  if (!prefix.endsWith("/")) throw new StorageError("invalid_key");
  return `${requireKey(prefix.slice(0, -1))}/`;
}

/** @throws StorageError invalid_key for what could lead anywhere else than to one object */
export function requireKey(key: string): string {
  if (key.length > MAX_KEY_LENGTH || !KEY.test(key) || key.includes(".."))
    throw new StorageError("invalid_key");
  return key;
}
