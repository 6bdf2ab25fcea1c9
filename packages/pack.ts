/**
 * `npm run pack` makes a tarball of each package of this folder, `npm run pack -- <name>` of those that are named.
 *   npm run pack                                   all of them, into dist-packages/
 *   npm run pack -- client --to ../app/vendor      one, into another folder
 * It prints the path of each tarball, which `npm install` and `npm publish` take.
 *
 * Inside the repository the `exports` of a package name its sources, and Node strips their types. Node strips no types
 * under node_modules, so a tarball holds JavaScript with declarations, and its `exports` name those.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const PACKAGES = import.meta.dirname;
const ROOT = resolve(PACKAGES, "..");
const DEFAULT_FOLDER = join(ROOT, "dist-packages");

type Exports = string | { [name: string]: Exports };

interface Manifest {
  name: string;
  exports: Exports;
}

/** Every package: the name of its folder and its manifest. */
function packages(): { folder: string; manifest: Manifest }[] {
  return readdirSync(PACKAGES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name: folder }) => ({
      folder,
      manifest: JSON.parse(readFileSync(join(PACKAGES, folder, "package.json"), "utf8")) as Manifest,
    }));
}

/**
 * Compiles a package and makes its tarball.
 * @param name the package's name or that of its folder
 * @returns the path of the tarball
 * @throws Error when there is no such package or it does not compile
 */
export function pack(name: string, to = DEFAULT_FOLDER): string {
  const found = packages().find(({ folder, manifest }) => folder === name || manifest.name === name);
  if (!found) throw new Error(`there is no package ${name} in packages/`);
  const source = join(PACKAGES, found.folder);
  const staged = mkdtempSync(join(tmpdir(), "pack-"));
  try {
    const dist = join(staged, "dist");
    run(join(ROOT, "node_modules/.bin/tsc"), ["-p", source, "--outDir", dist]);
    cpSync(join(source, "src"), dist, { recursive: true, filter: (path) => !path.endsWith(".ts") });
    cpSync(join(source, "README.md"), join(staged, "README.md"));
    cpSync(join(ROOT, "LICENSE"), join(staged, "LICENSE"));
    const manifest = { ...found.manifest, exports: compiled(found.manifest.exports) };
    writeFileSync(join(staged, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
    mkdirSync(to, { recursive: true });
    return join(to, run("npm", ["pack", staged, "--pack-destination", to, "--silent"]).trim());
  } finally {
    rmSync(staged, { recursive: true, force: true });
  }
}

/** The same exports, of what the compiler makes of the sources. */
function compiled(exports: Exports): Exports {
  if (typeof exports === "object") {
    return Object.fromEntries(Object.entries(exports).map(([name, target]) => [name, compiled(target)]));
  }
  const target = exports.replace(/^\.\/src\//, "./dist/");
  if (!target.endsWith(".ts")) return target;
  const module = target.slice(0, -".ts".length);
  return { types: `${module}.d.ts`, default: `${module}.js` };
}

function run(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(" ")}\n${stdout}${stderr}`, { cause: error });
  }
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { to: { type: "string", default: DEFAULT_FOLDER } },
  });
  const names = positionals.length > 0 ? positionals : packages().map(({ folder }) => folder);
  for (const name of names) console.log(pack(name, resolve(values.to)));
}
