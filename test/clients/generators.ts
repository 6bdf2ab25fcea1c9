import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const HERE = import.meta.dirname;
const STEP_TIMEOUT_MS = 600_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
const MAVEN = "https://repo1.maven.org/maven2";
const OPENAPI_GENERATOR = {
  version: "7.17.0",
  sha256: "25d6bd8273dd2be99979d544b62ea43f0ce1975f1aa582678b5093d1e7fcfce8",
};
const OAPI_CODEGEN = "github.com/oapi-codegen/oapi-codegen/v2";
const OAPI_CODEGEN_VERSION = "v2.8.2";
/** Its packages have wheels for these. */
const PYTHONS = ["python3.13", "python3.12", "python3.11", "python3"];

/** A generator of clients: what it needs, what it makes of a document, and how a program with its client is run. */
export interface Generator {
  name: string;
  needs: string;
  /** Generates the client into an empty folder and builds the program with it. @returns its command */
  build(document: string, folder: string): Promise<string[]>;
}

const tools = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "waybill", "generators");

async function run(command: string, words: string[], cwd: string, env: Record<string, string> = {}) {
  const options = {
    cwd,
    timeout: STEP_TIMEOUT_MS,
    maxBuffer: MAX_OUTPUT_BYTES,
    env: { ...process.env, ...env },
  };
  const { stdout } = await promisify(execFile)(command, words, options);
  return stdout;
}

export const generators: readonly Generator[] = [
  {
    name: "openapi-generator, python",
    needs: "Java 11 or newer, and Python 3.11 or newer with venv",
    async build(document, folder) {
      const words = ["-jar", await openApiGenerator(), "generate", "--generator-name", "python"];
      words.push("--input-spec", document, "--output", folder, "--package-name", "waybill_client");
      await run("java", words, folder);
      await run(await python(), ["-m", "venv", join(folder, "venv")], folder);
      await run(
        join(folder, "venv/bin/pip"),
        ["install", "--quiet", "--requirement", "requirements.txt"],
        folder,
      );
      copyFileSync(join(HERE, "programs/python.py"), join(folder, "program.py"));
      return [join(folder, "venv/bin/python"), "program.py"];
    },
  },
  {
    name: "oapi-codegen, Go",
    needs: "Go 1.24 or newer",
    async build(document, folder) {
      mkdirSync(tools, { recursive: true });
      await run("go", ["install", `${OAPI_CODEGEN}/cmd/oapi-codegen@${OAPI_CODEGEN_VERSION}`], folder, {
        GOBIN: tools,
      });
      mkdirSync(join(folder, "waybill"));
      const words = ["-generate", "types,client", "-package", "waybill", "-o", "waybill/client.go", document];
      await run(join(tools, "oapi-codegen"), words, folder);
      copyFileSync(join(HERE, "programs/go.go"), join(folder, "main.go"));
      await run("go", ["mod", "init", "waybill.example/program"], folder);
      await run("go", ["mod", "tidy"], folder);
      await run("go", ["build", "-o", "program", "."], folder);
      return [join(folder, "program")];
    },
  },
  {
    name: "@hey-api/openapi-ts, TypeScript",
    needs: "npm",
    async build(document, folder) {
      copyFileSync(join(HERE, "programs/package.json"), join(folder, "package.json"));
      await run("npm", ["install", "--silent", "--no-audit", "--no-fund"], folder);
      await run("node_modules/.bin/openapi-ts", ["--input", document, "--output", "waybill"], folder);
      copyFileSync(join(HERE, "programs/typescript.ts"), join(folder, "program.ts"));
      const words = ["--strict", "--skipLibCheck", "--target", "es2022", "--module", "commonjs"];
      words.push("--moduleResolution", "node", "--lib", "es2022,dom,dom.asynciterable", "--outDir", "built");
      await run("node_modules/.bin/tsc", [...words, "program.ts"], folder);
      return [process.execPath, "built/program.js"];
    },
  },
];

/** The jar of Maven's central repository, checked and kept. */
async function openApiGenerator(): Promise<string> {
  const { version, sha256 } = OPENAPI_GENERATOR;
  const jar = join(tools, `openapi-generator-cli-${version}.jar`);
  if (existsSync(jar) && sha256Of(readFileSync(jar)) === sha256) return jar;
  const path = `org/openapitools/openapi-generator-cli/${version}/openapi-generator-cli-${version}.jar`;
  const response = await fetch(`${MAVEN}/${path}`);
  if (!response.ok) throw new Error(`Maven's central repository answered ${response.status} for ${path}`);
  const bytes = Buffer.from(await response.arrayBuffer());
  if (sha256Of(bytes) !== sha256) throw new Error(`${path} is not the one whose SHA-256 is known`);
  mkdirSync(tools, { recursive: true });
  writeFileSync(jar, bytes);
  return jar;
}

const sha256Of = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

async function python(): Promise<string> {
  for (const name of PYTHONS) {
    const found = await run(name, ["-c", "import venv, ensurepip"], resolve(HERE)).then(
      () => true,
      () => false,
    );
    if (found) return name;
  }
  throw new Error(`none of ${PYTHONS.join(", ")} is here with venv and ensurepip (Debian: python3-venv)`);
}
