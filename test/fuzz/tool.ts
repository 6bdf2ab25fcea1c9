import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const BUILD_TIMEOUT_MS = 600_000;
const REQUIREMENTS = join(import.meta.dirname, "requirements.txt");
/** Its packages are pinned for these; older ones lack wheels of some. */
const PYTHONS = ["python3.11", "python3.12", "python3.13", "python3"];

const run = promisify(execFile);

/**
 * Schemathesis, as test/fuzz/requirements.txt pins it, in a virtual environment of its own that is built once.
 * @returns the path of its command
 * @throws Error with what is missing
 */
export async function schemathesis(): Promise<string> {
  const mark = createHash("sha256").update(readFileSync(REQUIREMENTS)).digest("hex").slice(0, 12);
  const caches = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  const folder = join(caches, "waybill", `schemathesis-${mark}`);
  const command = join(folder, "bin", "schemathesis");
  if (existsSync(command)) return command;
  mkdirSync(join(folder, ".."), { recursive: true });
  // A virtual environment names its own folder inside, so an unfinished one is removed and never moved.
  rmSync(folder, { recursive: true, force: true });
  const options = { timeout: BUILD_TIMEOUT_MS };
  try {
    await run(await python(), ["-m", "venv", folder], options);
    await run(join(folder, "bin", "pip"), ["install", "--quiet", "--requirement", REQUIREMENTS], options);
  } catch (error) {
    if (existsSync(folder)) renameSync(folder, `${folder}.failed-${process.pid}`);
    rmSync(`${folder}.failed-${process.pid}`, { recursive: true, force: true });
    throw new Error(`Schemathesis could not be installed: ${(error as Error).message}`);
  }
  return command;
}

async function python(): Promise<string> {
  for (const name of PYTHONS) {
    const found = await run(name, ["-c", "import venv, ensurepip"]).then(
      () => true,
      () => false,
    );
    if (found) return name;
  }
  throw new Error(`none of ${PYTHONS.join(", ")} is here with venv and ensurepip (Debian: python3-venv)`);
}
