import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../platform/free-port.ts";
import { binary } from "./binaries.ts";
import { startProcess } from "./process.ts";

export interface Haproxy {
  readonly url: string;
  readonly version: string;
  stop(): Promise<void>;
}

export interface Backend {
  name: string;
  port: number;
  /** Where `/readyz` is asked. */
  opsPort: number;
}

/**
 * A load balancer that asks each gateway five times a second whether it is ready. It repeats nothing: a request that a
 * gateway does not answer is a failed one.
 */
export async function startHaproxy(backends: readonly Backend[]): Promise<Haproxy> {
  const [path, port] = [await binary("haproxy"), await freePort()];
  const folder = mkdtempSync(join(tmpdir(), "waybill-haproxy-"));
  const file = join(folder, "haproxy.cfg");
  writeFileSync(
    file,
    `global
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 10s
  timeout check 2s
  retries 0
  option http-keep-alive
frontend api
  bind 127.0.0.1:${port}
  default_backend gateways
backend gateways
  balance roundrobin
  option httpchk GET /readyz
  http-check expect status 200
  default-server check inter 200ms fall 2 rise 1
${backends.map((one) => `  server ${one.name} 127.0.0.1:${one.port} check port ${one.opsPort}`).join("\n")}
`,
  );
  const url = `http://127.0.0.1:${port}`;
  const server = await startProcess(path, ["-f", file, "-db"], async () => {
    const answer = await fetch(`${url}/openapi.json`);
    await answer.arrayBuffer();
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
  });
  const { stdout } = await promisify(execFile)(path, ["-v"]);
  return {
    url,
    version: /HAProxy version (\S+)/.exec(stdout)?.[1] ?? "unknown",
    async stop() {
      await server.end("SIGTERM");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
