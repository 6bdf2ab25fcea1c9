import { createHash } from "node:crypto";
import { lstatSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** Maximum on every kernel: 108 bytes with the final NUL on Linux, 104 on macOS. */
const MAX_SOCKET_PATH_BYTES = 103;

/**
 * The control socket of the platform on a data folder. It is in that folder, or, if that path is too long for a socket,
 * in a private folder inside the temporary one, with a name that is a hash of the path.
 * @throws Error when that private folder belongs to another user
 */
export function controlSocketPath(dataDir: string): string {
  const inside = join(resolve(dataDir), "control.sock");
  if (Buffer.byteLength(inside) <= MAX_SOCKET_PATH_BYTES) return inside;
  const uid = process.getuid?.() ?? 0;
  const folder = join(tmpdir(), `waybill-${uid}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid: owner, mode } = lstatSync(folder);
  if (owner !== uid || (mode & 0o077) !== 0) throw new Error(`${folder} must be yours alone (chmod 700)`);
  return join(folder, `${createHash("sha256").update(inside).digest("hex").slice(0, 24)}.sock`);
}
