import { execFileSync } from "node:child_process";
import { cpSync, globSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { standInOverrides, standIns, withoutDigest } from "../containers/stand-ins.ts";

const root = resolve(import.meta.dirname, "../..");
const text = (path: string) => readFileSync(join(root, path), "utf8");

interface Locked {
  version: string;
  name?: string;
  integrity?: string;
  resolved?: string;
  link?: boolean;
  dev?: boolean;
  dependencies?: Record<string, string>;
}

const { packages } = JSON.parse(text("package-lock.json")) as { packages: Record<string, Locked> };
const manifest = JSON.parse(text("package.json"));
const installed = Object.entries(packages).filter(
  ([path, { link }]) => path.includes("node_modules/") && !link,
);
const named = (name: string) => installed.filter(([path]) => path.endsWith(`node_modules/${name}`));

/** Files that name images, with the images that are not built from this repository. */
const files = [
  "Dockerfile",
  "deploy/keycloak/Dockerfile",
  "deploy/minio/Dockerfile",
  "docker-compose.yml",
  "docker-compose.sandbox.yml",
  ...readdirSync(join(root, "k8s"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".yaml"))
    .map((path) => join("k8s", path)),
];
const images = files.flatMap((file) =>
  [...text(file).matchAll(/^(?:\s*(?:- )?image:|ARG \w+_IMAGE=)\s*(\S+)$/gm)].map(([, image = ""]) => ({
    file,
    image,
  })),
);
const foreign = images.filter(({ image }) => !image.startsWith("waybill"));

describe("the lockfile", () => {
  it("holds every package of every platform by its integrity", () => {
    expect(installed.length).toBeGreaterThan(500);
    expect(installed.filter(([, { integrity }]) => !integrity?.startsWith("sha512-"))).toEqual([]);
  });

  it("names no host to download from, so that each machine uses its own registry", () => {
    expect(installed.filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
  });

  it("holds no tough-cookie with CVE-2023-26136", () => {
    const versions = named("tough-cookie").map(([, { version }]) => version);
    expect(versions).toHaveLength(1);
    expect(Number.parseInt(versions[0] ?? "", 10)).toBeGreaterThanOrEqual(5);
  });

  it("replaces the MongoDB adapter's 12 MB of test data", () => {
    expect(named("fakerator").map(([, { name }]) => name)).toEqual(["isstream"]);
  });
});

describe("package.json", () => {
  it("names exact versions only, in every workspace", () => {
    const folders = (manifest.workspaces as string[]).flatMap((pattern) =>
      globSync(`${pattern}/package.json`, { cwd: root }),
    );
    expect(folders.length).toBeGreaterThan(manifest.workspaces.length - 1);
    const workspaces = folders.map((path) => JSON.parse(text(path)));
    const ranges = [manifest, ...workspaces].flatMap(
      ({ dependencies, devDependencies, optionalDependencies }) =>
        Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies }).filter(
          ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version as string),
        ),
    );
    expect(ranges).toEqual([]);
  });

  it("keeps the sandbox's mail and web servers out of the production installation", () => {
    for (const name of ["smtp-server", "postal-mime", "hono", "@hono/node-server"]) {
      expect(manifest.dependencies).not.toHaveProperty(name);
      const owners = Object.entries(packages).filter(([, locked]) => locked.dependencies?.[name]);
      expect(owners.map(([path]) => path)).toEqual(["sandbox"]);
    }
    expect(text("Dockerfile")).toMatch(/npm ci --omit=dev --workspace=packages --include-workspace-root/);
  });
});

/** Digests that two sources could not confirm (ADR 24). Older releases are not used: these mend vulnerabilities. */
const WITHOUT_DIGEST = [
  "axllent/mailpit:v1.34.0",
  "golang:1.27.4-alpine",
  "grafana/grafana:13.1.10",
  "mongo:8.0.37",
  "postgres:18.7-bookworm",
];

describe("images", () => {
  it.each(foreign)("$image of $file has an exact tag and a digest", ({ image }) => {
    const [, version, digest] = /^[a-z0-9./-]+:([^@]+)(?:@(.*))?$/.exec(image) ?? [];
    expect(version).toMatch(/^v?\d+\.\d+(\.\d+)?(-|$)/);
    if (WITHOUT_DIGEST.includes(image)) return;
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it("without a digest are those of the list, and no others", () => {
    const found = foreign.filter(({ image }) => !image.includes("@")).map(({ image }) => image);
    expect([...new Set(found)].sort()).toEqual(WITHOUT_DIGEST);
  });

  it("are the same everywhere: no place has another tag or digest", () => {
    const tags = new Map<string, Set<string>>();
    for (const { image } of images.filter((each) => !/\$\{|^waybill$/.test(each.image))) {
      const [name = "", tag = ""] = image.split(/:(.*)/);
      tags.set(name, (tags.get(name) ?? new Set()).add(tag));
    }
    expect([...tags].filter(([, found]) => found.size > 1)).toEqual([]);
    expect(tags.size).toBeGreaterThan(10);
  });

  it("that the containers' test makes have the names in the files", () => {
    const inFiles = new Set(foreign.map(({ image }) => withoutDigest(image)));
    for (const { image } of Object.values(standIns)) expect(inFiles).toContain(image);
  });

  it("are named to the containers' test by their tag alone, in services and in builds", () => {
    const { services } = JSON.parse(standInOverrides(join(root, "docker-compose.yml")));
    expect(services.nats.image).toBe(standIns.nats?.image);
    expect(services.gateway.build.args).toEqual({ NODE_IMAGE: standIns.node?.image });
    expect(services.minio.build.args).toEqual({
      GO_IMAGE: standIns.golang?.image,
      ALPINE_IMAGE: standIns.alpine?.image,
    });
    expect(JSON.stringify(services)).not.toContain("@sha256");
    const sandbox = JSON.parse(standInOverrides(join(root, "docker-compose.sandbox.yml"))).services;
    expect(sandbox.sandbox.build.args).toEqual({ NODE_IMAGE: standIns.node?.image });
  });

  it("get the registry's digest by the command of docs/deploying.md, also in place of another digest", () => {
    const [, command = ""] = /```sh\n(grep -rhoE[^`]*)```/.exec(text("docs/deploying.md")) ?? [];
    const folder = mkdtempSync(join(tmpdir(), "waybill-digests-"));
    try {
      for (const path of ["Dockerfile", "deploy", "docker-compose.yml", "k8s"]) {
        cpSync(join(root, path), join(folder, path), { recursive: true });
      }
      const digest = `sha256:${"0".repeat(64)}`;
      writeFileSync(join(folder, "docker"), `#!/bin/sh\necho ${digest}\n`, { mode: 0o755 });
      execFileSync("sh", ["-ec", command], { cwd: folder, env: { PATH: `${folder}:${process.env.PATH}` } });
      for (const { file, image } of foreign) {
        expect(readFileSync(join(folder, file), "utf8")).toContain(`${withoutDigest(image)}@${digest}\n`);
      }
      expect(readFileSync(join(folder, "docker-compose.yml"), "utf8")).toMatch(
        /image: waybill-minio:[\d.]+\n/,
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("of MinIO is built from sources after RELEASE.2025-10-15, which fixed CVE-2025-62506", () => {
    expect(images.filter(({ image }) => /(^|\/)minio/.test(image))).toEqual([]);
    const [, built = "0"] =
      /^ARG MINIO_VERSION=v0\.0\.0-(\d{14})-[0-9a-f]{12}$/m.exec(text("deploy/minio/Dockerfile")) ?? [];
    expect(Number(built)).toBeGreaterThan(20251015172955);
    // The tests' server is of the same sources.
    expect(text("test/servers/binaries.ts")).toContain(built);
  });

  it("of production holds the list of its packages and their licences", () => {
    const dockerfile = text("Dockerfile");
    expect(dockerfile).toMatch(/npm sbom --sbom-format=cyclonedx/);
    expect(dockerfile).toContain("COPY --from=dependencies /app/sbom.cdx.json");
    expect(text(".dockerignore").split("\n")).toEqual(
      expect.arrayContaining(["!LICENSE", "!THIRD-PARTY-NOTICES"]),
    );
  });
});
