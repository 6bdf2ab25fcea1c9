import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const ROOT = resolve(import.meta.dirname, "../..");
const TIMEOUT_MS = 60_000;
const NODE_TYPES = ["@types/node", "undici-types"];

/** Another team's project, outside of the repository, in which a tarball is installed. */
export interface Project {
  folder: string;
  /** Writes a file of the project and returns its path. */
  write(name: string, text: string): string;
  /** Compiles these files with the project's compiler options. @throws Error whose `stdout` holds what is wrong */
  compile(...files: string[]): Promise<void>;
  /** Runs a compiled file. @returns what it printed */
  run(file: string): Promise<string>;
  remove(): void;
}

export interface ProjectOptions {
  /** Packages that the project's own code imports besides what the package itself depends on. */
  uses?: readonly string[];
  compilerOptions?: object;
}

/**
 * Installs a tarball without the network: what the package says it depends on, and nothing else, is linked from this
 * checkout's node_modules.
 */
export function projectWith(
  tarball: string,
  { uses = [], compilerOptions = {} }: ProjectOptions = {},
): Project {
  const folder = mkdtempSync(join(tmpdir(), "waybill-project-"));
  const modules = join(folder, "node_modules");
  const unpacked = join(folder, "unpacked");
  mkdirSync(unpacked);
  execFileSync("tar", ["-xzf", tarball, "-C", unpacked, "--strip=1"]);
  const { name, dependencies, peerDependencies } = JSON.parse(
    readFileSync(join(unpacked, "package.json"), "utf8"),
  );
  const link = (from: string, as: string) => {
    mkdirSync(dirname(join(modules, as)), { recursive: true });
    symlinkSync(from, join(modules, as));
  };
  // Node strips no types under node_modules, and its rule looks at where a file really is.
  mkdirSync(dirname(join(modules, name)), { recursive: true });
  execFileSync("mv", [unpacked, join(modules, name)]);
  const needed = new Set([
    ...Object.keys(dependencies ?? {}),
    ...Object.keys(peerDependencies ?? {}),
    ...NODE_TYPES,
    ...uses,
  ]);
  for (const needs of needed) link(join(ROOT, "node_modules", needs), needs);
  const write = (file: string, text: string) => {
    writeFileSync(join(folder, file), text);
    return join(folder, file);
  };
  write("package.json", JSON.stringify({ type: "module", private: true }));

  return {
    folder,
    write,
    async compile(...files) {
      const strict = { target: "es2024", module: "nodenext", strict: true, skipLibCheck: true };
      write("tsconfig.json", JSON.stringify({ compilerOptions: { ...strict, ...compilerOptions }, files }));
      await run(join(ROOT, "node_modules/.bin/tsc"), ["-p", folder]);
    },
    async run(file) {
      const { stdout } = await run(process.execPath, [join(folder, file)], { timeout: TIMEOUT_MS });
      return stdout;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The code blocks of a page in one language, without their fences. */
export function codeBlocks(page: string, language: string): string[] {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].flatMap(([, found, code = ""]) =>
    found === language ? [code] : [],
  );
}
