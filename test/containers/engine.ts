/** A Docker engine for the tests of containers: the machine's own where it answers, else one that is started here. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

const START_TIMEOUT_MS = 30_000;
const POLL_MS = 100;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

const run = promisify(execFile);

export interface Ran {
  stdout: string;
  stderr: string;
}

export interface Engine {
  readonly version: string;
  /** Runs the Docker client. @throws Error with what it said */
  docker(...words: string[]): Promise<Ran>;
  /** Runs docker-compose. @throws Error with what it said */
  compose(words: readonly string[], options: { env: Record<string, string>; cwd: string }): Promise<Ran>;
  stop(): Promise<void>;
}

/** Images and what they are made from are kept here between runs. */
export function cacheFolder(): string {
  return resolve(process.env.WAYBILL_CONTAINERS || join(homedir(), ".cache", "waybill", "containers"));
}

/** @throws Error in one line that says what to install */
export async function startEngine(): Promise<Engine> {
  const client = program("docker", "docker.io");
  const composer = program("docker-compose", "docker-compose");
  const answers = async (env: Record<string, string>) =>
    await run(client, ["version", "--format", "{{.Server.Version}}"], {
      env: { ...process.env, ...env },
    }).then(
      ({ stdout }) => stdout.trim(),
      () => undefined,
    );

  let env: Record<string, string> = {};
  let version = await answers(env);
  let daemon: ChildProcess | undefined;
  if (version === undefined) {
    const folder = cacheFolder();
    mkdirSync(folder, { recursive: true });
    const socket = join(folder, "docker.sock");
    env = { DOCKER_HOST: `unix://${socket}` };
    version = await answers(env);
    if (version === undefined) {
      const log = openSync(join(folder, "dockerd.log"), "w");
      daemon = spawn(
        program("dockerd", "docker.io"),
        [
          `--data-root=${join(folder, "docker")}`,
          ...["--exec-root=/run/waybill-containers", "--pidfile=/run/waybill-containers.pid"],
          `--host=${env.DOCKER_HOST}`,
        ],
        { detached: true, stdio: ["ignore", log, log] },
      );
      version = await untilItAnswers(() => answers(env), daemon, join(folder, "dockerd.log"));
    }
  }

  // docker-compose builds by the client that it finds first.
  const PATH = [dirname(client), process.env.PATH].join(delimiter);
  const own = { ...process.env, ...env, PATH, DOCKER_BUILDKIT: "1", COMPOSE_DOCKER_CLI_BUILD: "1" };
  return {
    version,
    docker: (...words) => told(client, words, { env: own }),
    compose: (words, options) => told(composer, words, { cwd: options.cwd, env: { ...own, ...options.env } }),
    async stop() {
      if (!daemon || daemon.exitCode !== null) return;
      const ended = new Promise((done) => daemon?.once("exit", done));
      daemon.kill("SIGTERM");
      await ended;
    },
  };
}

async function untilItAnswers(
  ask: () => Promise<string | undefined>,
  daemon: ChildProcess,
  log: string,
): Promise<string> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline && daemon.exitCode === null) {
    const version = await ask();
    if (version !== undefined) return version;
    await delay(POLL_MS);
  }
  daemon.kill("SIGTERM");
  throw new Error(`dockerd did not start: ${readFileSync(log, "utf8").trim().split("\n").at(-1)}`);
}

async function told(file: string, words: readonly string[], options: object): Promise<Ran> {
  try {
    return await run(file, words, { ...options, maxBuffer: MAX_OUTPUT_BYTES, encoding: "utf8" });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${file} ${words.join(" ")}\n${stdout ?? ""}${stderr ?? (error as Error).message}`);
  }
}

/** Debian's own: a client that came otherwise may lack the builder. */
function program(name: string, packageName: string): string {
  const found = ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
    .map((folder) => join(folder, name))
    .find(existsSync);
  if (!found) throw new Error(`${name} is missing: apt-get install ${packageName}`);
  return found;
}
