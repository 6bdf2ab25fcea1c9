import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, createReadStream, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, delimiter, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { FolderInUse, lockFolder } from "../../platform/folder-lock.ts";

const LOCK_POLL_MS = 250;
/** MinIO takes three minutes of two cores; more means that something hangs. */
const BUILD_TIMEOUT_MS = 1_200_000;

/** How a server comes onto this machine. */
type Source =
  /** `go install` of a package at a version. */
  | { by: "go install"; package: string; version: string }
  /** `go build` in a copy of the module, for those that `go install` refuses; `files` are written into the copy. */
  | { by: "go build"; module: string; package: string; version: string; files: Record<string, string> }
  /** An archive of Maven's central repository. */
  | { by: "maven"; group: string; artifact: string; version: string; extension: string; sha256: string }
  /** A package of Debian, whose version is the distribution's. */
  | { by: "apt"; package: string };

/** The servers of the cluster's and the faults' tests, pinned. The Go proxy serves only some versions of each. */
export const sources = {
  "nats-server": {
    by: "go install",
    package: "github.com/nats-io/nats-server/v2",
    version: "v2.15.2",
  },
  minio: {
    by: "go install",
    package: "github.com/minio/minio",
    version: "v0.0.0-20260212201848-7aac2a2c5b7c",
  },
  mailpit: { by: "go install", package: "github.com/axllent/mailpit", version: "v1.33.1" },
  "toxiproxy-server": {
    by: "go install",
    package: "github.com/Shopify/toxiproxy/v2/cmd/server",
    version: "v2.5.0",
  },
  "stripe-mock": { by: "go install", package: "github.com/stripe/stripe-mock", version: "v0.203.0" },
  grpcurl: { by: "go install", package: "github.com/fullstorydev/grpcurl/cmd/grpcurl", version: "v1.9.4" },
  ferretdb: {
    by: "go build",
    module: "github.com/FerretDB/FerretDB",
    package: "./cmd/ferretdb",
    version: "v1.24.0",
    files: { "build/version/version.txt": "v1.24.0\n" },
  },
  keycloak: {
    by: "maven",
    group: "org.keycloak",
    artifact: "keycloak-quarkus-dist",
    version: "26.7.4",
    extension: "tar.gz",
    sha256: "04823c336b797a7e18889a44262a7a64e6bf624cbbcc518c85e2622176ff2eee",
  },
  "redis-server": { by: "apt", package: "redis-server" },
  haproxy: { by: "apt", package: "haproxy" },
} as const satisfies Record<string, Source>;

export type ServerName = keyof typeof sources;

const run = promisify(execFile);
const inFlight = new Map<ServerName, Promise<string>>();

/** Where servers are kept between runs. */
export function serversFolder(): string {
  return resolve(process.env.WAYBILL_SERVERS || join(homedir(), ".cache", "waybill", "servers"));
}

/**
 * The path of a server's program (of Keycloak: of its archive), which is built or fetched where it is missing: any
 * number of processes may ask at once, one works and the others wait.
 * @throws Error in one line that says what to install
 */
export function binary(name: ServerName): Promise<string> {
  const asked = inFlight.get(name) ?? provide(name);
  inFlight.set(name, asked);
  return asked;
}

async function provide(name: ServerName): Promise<string> {
  const source: Source = sources[name];
  if (source.by === "apt") {
    const found = inPath(name);
    if (!found) throw new Error(`${name} is missing: apt-get install ${source.package}`);
    return found;
  }
  const path = join(serversFolder(), fileName(name, source));
  if (existsSync(path)) return path;
  const unlock = await lock(name, () => existsSync(path));
  try {
    if (!existsSync(path)) await make(name, source, path);
    return path;
  } finally {
    unlock();
  }
}

function fileName(name: string, source: Exclude<Source, { by: "apt" }>): string {
  return source.by === "maven"
    ? `${source.artifact}-${source.version}.${source.extension}`
    : `${name}-${source.version}`;
}

/** Makes it in a folder of this process and moves it to its place when it is whole. */
async function make(name: string, source: Exclude<Source, { by: "apt" }>, path: string): Promise<void> {
  const tool = source.by === "maven" ? "mvn" : "go";
  if (!inPath(tool)) {
    throw new Error(`${name} is missing and is made by ${tool}, which is missing too: install it`);
  }
  const startedMs = performance.now();
  const say = (what: string) => complain(`servers: ${name} ${source.version} ${what}`);
  say(`is being ${source.by === "maven" ? "fetched" : "built"} (once; kept in ${serversFolder()})`);
  const folder = mkdtempSync(join(serversFolder(), ".making-"));
  try {
    const made = await makers[source.by](source as never, folder);
    renameSync(made, path);
  } catch (error) {
    const { stderr, stdout, message } = error as Error & { stderr?: string; stdout?: string };
    const said = (stderr || stdout || message).trim().split("\n").at(-1);
    throw new Error(`${name} ${source.version} could not be made by ${source.by}: ${said}`);
  } finally {
    await run("chmod", ["-R", "u+w", folder]);
    rmSync(folder, { recursive: true, force: true });
  }
  say(`is there after ${Math.round((performance.now() - startedMs) / 1000)} s`);
}

type Maker<B extends Source["by"]> = (source: Extract<Source, { by: B }>, folder: string) => Promise<string>;

/** Each puts the file into the folder and answers its path. */
const makers: { [B in Exclude<Source["by"], "apt">]: Maker<B> } = {
  async "go install"(source, folder) {
    await go(["install", "-trimpath", `${source.package}@${source.version}`], folder, { GOBIN: folder });
    const [made] = await readdir(folder);
    if (!made) throw new Error("go install made nothing");
    return join(folder, made);
  },
  async "go build"(source, folder) {
    const { stdout } = await go(["mod", "download", "-json", `${source.module}@${source.version}`], folder);
    const copy = join(folder, "module");
    cpSync((JSON.parse(stdout) as { Dir: string }).Dir, copy, { recursive: true });
    // The module cache is read-only, and so is its copy.
    await run("chmod", ["-R", "u+w", copy]);
    for (const [file, content] of Object.entries(source.files)) await writeFile(join(copy, file), content);
    const made = join(folder, basename(source.package));
    await go(["build", "-trimpath", "-o", made, source.package], copy);
    return made;
  },
  async maven(source, folder) {
    const { group, artifact, version, extension } = source;
    await run(
      "mvn",
      [
        ...["--batch-mode", "--quiet", "--strict-checksums"],
        "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
        `-Dartifact=${group}:${artifact}:${version}:${extension}`,
        `-DoutputDirectory=${folder}`,
      ],
      { cwd: folder, timeout: BUILD_TIMEOUT_MS },
    );
    const made = join(folder, `${artifact}-${version}.${extension}`);
    const hash = createHash("sha256");
    await pipeline(createReadStream(made), hash);
    if (hash.digest("hex") !== source.sha256) throw new Error("it is not the archive that was pinned");
    return made;
  },
};

function go(words: string[], cwd: string, env: Record<string, string> = {}) {
  return run("go", words, {
    cwd,
    timeout: BUILD_TIMEOUT_MS,
    maxBuffer: 16_777_216,
    env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", ...env },
  });
}

/** One process makes a server; the others wait until it is there. */
async function lock(name: string, isThere: () => boolean): Promise<() => void> {
  const folder = join(serversFolder(), ".locks", name);
  mkdirSync(folder, { recursive: true });
  for (;;) {
    try {
      return lockFolder(folder);
    } catch (error) {
      if (!(error instanceof FolderInUse)) throw error;
      await delay(LOCK_POLL_MS);
      if (isThere()) return () => undefined;
    }
  }
}

function complain(line: string): void {
  process.stderr.write(`${line}\n`);
}

function inPath(program: string): string | undefined {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find((path) => existsSync(path));
}

// `node test/servers/binaries.ts [name…]` makes them all, one after another: each uses all cores by itself.
if (import.meta.main) {
  const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(sources);
  let complete = true;
  for (const name of names) {
    try {
      process.stdout.write(`${name}: ${await binary(name as ServerName)}\n`);
    } catch (error) {
      complete = false;
      complain((error as Error).message);
    }
  }
  process.exit(complete ? 0 : 1);
}
