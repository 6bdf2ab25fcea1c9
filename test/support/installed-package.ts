import { execFile, execFileSync, spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { eventually } from "./eventually.ts";

const run = promisify(execFile);
const ROOT = resolve(import.meta.dirname, "../..");
const TIMEOUT_MS = 180_000;
const NODE_TYPES = ["@types/node", "undici-types"];

/** Another team's project, outside of the repository, in which a tarball is installed. */
export interface Project {
  folder: string;
  /** Writes a file of the project and returns its path. */
  write(name: string, text: string): string;
  /** Compiles these files with the project's compiler options. @throws Error whose `stdout` holds what is wrong */
  compile(...files: string[]): Promise<void>;
  /** Runs a compiled file to its end. @returns what it printed */
  run(file: string): Promise<string>;
  /** Starts a compiled file and waits until what it prints matches. */
  start(file: string, ready: RegExp, env?: NodeJS.ProcessEnv): Promise<Started>;
  remove(): void;
}

export interface Started {
  match: RegExpExecArray;
  stop(): Promise<void>;
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
  mkdirSync(dirname(join(modules, name)), { recursive: true });
  renameSync(unpacked, join(modules, name));
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
    async start(file, ready, env = {}) {
      const child = spawn(process.execPath, [join(folder, file)], { env: { ...process.env, ...env } });
      const ended = new Promise((resolve) => child.once("exit", resolve));
      let output = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (data) => {
          output += data;
        });
      }
      const stop = async () => {
        child.kill("SIGTERM");
        await ended;
      };
      try {
        const match = await eventually(
          () => {
            const found = ready.exec(output);
            if (!found && child.exitCode === null) throw new Error(`not ready yet:\n${output}`);
            return found;
          },
          { timeoutMs: TIMEOUT_MS },
        );
        if (!match) throw new Error(`it ended:\n${output}`);
        return { match, stop };
      } catch (error) {
        await stop();
        throw error;
      }
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
