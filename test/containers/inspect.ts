/** What is asked of the running containers themselves, whatever their files say. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import type { Engine, Ran } from "./engine.ts";

const STOP_LIMIT_MS = 10_000;
const HEALTHY_TIMEOUT_MS = 60_000;
/** Jobs have ended; the relays of the sandbox are not ours to harden. */
const JOBS = ["migrate", "bucket", "folders"];
const services = ["gateway", "orders", "partners", "notifications", "identity", "media"] as const;

type Compose = (...words: string[]) => Promise<Ran>;

interface Container {
  Name: string;
  Config: { User: string; Image: string; Labels: Record<string, string> };
  HostConfig: {
    ReadonlyRootfs: boolean;
    CapDrop: string[] | null;
    SecurityOpt: string[] | null;
    Memory: number;
    PidsLimit: number;
    Privileged: boolean;
    PortBindings: Record<string, { HostIp: string }[]> | null;
  };
  State: { Pid: number; Status: string; ExitCode: number; Health?: { Status: string } };
}

/**
 * Holds every container against what the files promise, and tries what must not work.
 * @returns the first process of each service
 * @throws AssertionError
 */
export async function inspectCluster(
  engine: Engine,
  compose: Compose,
  say: (line: string) => void,
): Promise<Record<string, { pid: number }>> {
  const containers = await all(engine, compose);
  const serviceOf = ({ Config }: Container) => Config.Labels["com.docker.compose.service"] ?? "";
  for (const container of containers) {
    const service = serviceOf(container);
    const { Name, HostConfig, State, Config } = container;
    const about = `${service}: `;
    assert.equal(HostConfig.ReadonlyRootfs, true, `${about}its root is read-only`);
    assert.deepEqual(HostConfig.CapDrop, ["ALL"], `${about}no capability is left`);
    assert.ok(HostConfig.SecurityOpt?.includes("no-new-privileges:true"), `${about}no new privileges`);
    assert.equal(HostConfig.Privileged, false);
    assert.ok(HostConfig.Memory > 0 && HostConfig.PidsLimit > 0, `${about}memory and processes are bounded`);
    assert.ok(!/^(0|root)?(:|$)/.test(Config.User) || service === "folders", `${about}not root`);
    if (JOBS.includes(service))
      assert.deepEqual([State.Status, State.ExitCode], ["exited", 0], `${about}done`);
    else assert.equal(State.Status, "running", `${about}running`);
    // Busy is not ill: a check that came too late is asked again.
    if (State.Health && !JOBS.includes(service)) await untilHealthy(engine, Name, service);
    const published = Object.values(HostConfig.PortBindings ?? {}).flat();
    if (service !== "proxy") assert.equal(published.length, 0, `${about}publishes no port`);
    for (const { HostIp } of published)
      assert.equal(HostIp, "127.0.0.1", `${about}publishes to loopback only`);
  }
  assert.equal(
    containers.filter((each) => serviceOf(each) === "gateway").length,
    2,
    "there are two gateways",
  );

  await refuses(compose, "orders", ["node", "-e", "require('fs').writeFileSync('/app/x','')"], "EROFS");
  await refuses(compose, "orders", ["node", "-e", "require('fs').writeFileSync('/etc/x','')"], "EROFS");
  await refuses(compose, "orders", ["npm", "--version"], "not found");
  await refuses(
    compose,
    "gateway",
    ["node", "-e", "fetch('http://postgres:5432').catch(e=>{throw e})"],
    "ENOTFOUND",
  );
  const { stdout } = await compose(
    "exec",
    "-T",
    "orders",
    "node",
    "-p",
    "process.getuid()+' '+process.version",
  );
  say(`${containers.length} containers are as hardened as their files say; services run as ${stdout.trim()}`);

  const found = containers.filter((each) => (services as readonly string[]).includes(serviceOf(each)));
  return Object.fromEntries(found.map((each) => [serviceOf(each), { pid: each.State.Pid }]));
}

/** SIGTERM, as at every release: each service ends by itself with exit code 0. */
export async function stopsInTime(
  engine: Engine,
  compose: Compose,
  say: (line: string) => void,
): Promise<void> {
  const beganMs = performance.now();
  await compose("stop", "--timeout", "15", ...services);
  const tookMs = performance.now() - beganMs;
  const containers = await all(engine, compose);
  for (const { Name, Config, State } of containers) {
    const service = Config.Labels["com.docker.compose.service"] ?? "";
    if ((services as readonly string[]).includes(service))
      assert.equal(State.ExitCode, 0, `${Name} ended well`);
  }
  assert.ok(tookMs < STOP_LIMIT_MS, `all services stopped within ten seconds, not ${Math.round(tookMs)} ms`);
  say(`SIGTERM: all services ended with exit code 0 after ${(tookMs / 1000).toFixed(1)} s`);
}

async function untilHealthy(engine: Engine, name: string, service: string): Promise<void> {
  await eventually(
    async () => {
      const { stdout } = await engine.docker("inspect", "--format", "{{.State.Health.Status}}", name);
      assert.equal(stdout.trim(), "healthy", `${service}: healthy`);
    },
    { timeoutMs: HEALTHY_TIMEOUT_MS },
  );
}

async function all(engine: Engine, compose: Compose): Promise<Container[]> {
  const { stdout } = await compose("ps", "--all", "--quiet");
  const ids = stdout.trim().split("\n").filter(Boolean);
  return JSON.parse((await engine.docker("inspect", ...ids)).stdout) as Container[];
}

async function refuses(compose: Compose, service: string, command: string[], because: string): Promise<void> {
  const said = await compose("exec", "-T", service, ...command).then(
    () => undefined,
    (error: Error) => error.message,
  );
  assert.ok(said?.includes(because), `${service} must refuse ${command.join(" ")}: ${said}`);
}
