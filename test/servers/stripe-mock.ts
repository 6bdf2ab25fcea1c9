import { spawn } from "node:child_process";
import { once } from "node:events";
import { binary } from "./binaries.ts";

const START_TIMEOUT_MS = 15_000;

export interface StripeMock {
  url: string;
  stop(): Promise<void>;
}

/**
 * Stripe's own mock: it checks every request's parameters against Stripe's OpenAPI document and answers with the
 * document's examples. It keeps no state.
 */
export async function startStripeMock(): Promise<StripeMock> {
  const path = await binary("stripe-mock");
  const args = ["-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0"];
  const server = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(server, "exit");
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    const fail = () => reject(new Error(`stripe-mock has not started: ${said.slice(-300)}`));
    const late = setTimeout(fail, START_TIMEOUT_MS);
    server.once("exit", fail);
    const listen = (chunk: Buffer) => {
      said += chunk;
      const [, address] = /HTTP at address: (\S+)/.exec(said) ?? [];
      if (!address) return;
      clearTimeout(late);
      server.off("exit", fail);
      resolve(`http://${address}`);
    };
    server.stdout.on("data", listen);
    server.stderr.on("data", listen);
  });
  return {
    url,
    async stop() {
      if (server.exitCode === null) server.kill("SIGTERM");
      await ended;
    },
  };
}
