import { createHash } from "node:crypto";
import { lstatSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** What every kernel takes: 108 bytes with the closing NUL on Linux, 104 on macOS. */
const MAX_SOCKET_PATH_BYTES = 103;

/**
 * Where the platform of a data folder listens for its operators: in the folder, or, when that path is too long
 * for a socket, in a folder of the user's own below the temporary one, under a name made from the path.
 * @throws Error when that folder belongs to somebody else
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
