import { execFile } from "node:child_process";
import { join } from "node:path";
import { runFolder } from "./test-run.ts";

const FOLDER = join(import.meta.dirname, "..", "simulation");

/**
 * Runs the simulation and returns its lines. A process of its own, because a run takes the process's clock, timers and chance away.
 */
export function runSimulation(env: Record<string, string>): Promise<string[]> {
  const program = ["--import", join(FOLDER, "hooks.ts"), join(FOLDER, "main.ts")];
  const cache = join(runFolder(), "compile-cache");
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      program,
      { env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: cache, ...env }, maxBuffer: 1e8 },
      (_error, out, complaint) => resolve(`${out}${complaint}`.trimEnd().split("\n")),
    );
  });
}
