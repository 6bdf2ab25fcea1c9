import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export interface BaselineServer {
  pid: number;
  /** `<url>/page` and `<url>/hello`: see baseline-server.ts. */
  url: string;
  stop(): void;
}

/** Starts node:http in a process of its own. @param pageFile the file whose bytes it sends for `/page` */
export async function startBaselineServer(pageFile: string): Promise<BaselineServer> {
  const server = spawn(process.execPath, [join(import.meta.dirname, "baseline-server.ts"), pageFile], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [port] = (await once(server.stdout, "data")) as [Buffer];
  return {
    pid: server.pid as number,
    url: `http://127.0.0.1:${port.toString().trim()}`,
    stop: () => server.kill(),
  };
}
