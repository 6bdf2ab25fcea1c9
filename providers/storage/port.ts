/**
 * `invalid_key`: a mistake of the caller; `unavailable`: the store cannot be used now; `misconfigured`: it never can with
 * these settings. The message of `misconfigured` names the setting, never its value.
 */
export class StorageError extends Error {
  readonly kind: "invalid_key" | "unavailable" | "misconfigured";

  constructor(kind: StorageError["kind"], cause?: unknown, message: string = kind) {
    super(message, { cause });
    this.kind = kind;
  }
}

/**
 * Stores objects of some megabytes under keys such as `avatars/<user id>.webp`: segments of lower-case letters, digits,
 * hyphens, underscores and dots, joined by slashes. A reader always gets one whole version. Every method can fail with
 * `unavailable`, and all may be repeated.
 */
export interface Storage {
  /**
   * Connects and creates the bucket or folder. Call once at start; otherwise the first operation does it.
   * @throws misconfigured when a retry cannot help
   */
  open(): Promise<void>;
  /**
   * Stores the bytes durably and replaces an existing object.
   * @param contentType for programs that read the store directly
   * @throws invalid_key
   */
  put(key: string, bytes: Uint8Array, contentType?: string): Promise<void>;
  /** Undefined when there is no such object. @throws invalid_key */
  get(key: string): Promise<Buffer | undefined>;
  /** No error when there is no such object. @throws invalid_key */
  delete(key: string): Promise<void>;
  /** The first `limit` keys, sorted, that begin with `prefix`, which ends in a slash. @throws invalid_key */
  list(prefix: string, limit: number): Promise<string[]>;
  /** Whether `put` can succeed now. */
  ready(): Promise<boolean>;
  /** Closes the connections. No method may be called afterwards. */
  close(): void;
}

const MAX_KEY_LENGTH = 300;
const KEY = /^[a-z0-9][a-z0-9._-]{0,127}(?:\/[a-z0-9][a-z0-9._-]{0,127})*$/;

/** Returns the prefix if it is valid and ends in a slash. @throws StorageError invalid_key */
export function requirePrefix(prefix: string): string {
  if (!prefix.endsWith("/")) throw new StorageError("invalid_key");
  return `${requireKey(prefix.slice(0, -1))}/`;
}

/** Returns the key if it is valid; a valid key cannot leave the store's folder. @throws StorageError invalid_key */
export function requireKey(key: string): string {
  if (key.length > MAX_KEY_LENGTH || !KEY.test(key) || key.includes(".."))
    throw new StorageError("invalid_key");
  return key;
}
