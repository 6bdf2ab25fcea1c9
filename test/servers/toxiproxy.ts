import { freePort } from "../../platform/free-port.ts";
import { binary, sources } from "./binaries.ts";
import { startProcess } from "./process.ts";

const HOST = "127.0.0.1";

/** A fault of a connection. Its attributes are Toxiproxy's. */
export interface Toxic {
  type: "latency" | "timeout" | "reset_peer" | "slow_close" | "limit_data" | "bandwidth";
  /** `downstream` is from the server to its client. */
  stream?: "upstream" | "downstream";
  attributes: Record<string, number>;
}

/** A port in front of another one. */
export interface FaultProxy {
  readonly name: string;
  readonly port: number;
  /** From now on, for connections that are open too. */
  add(toxic: Toxic): Promise<void>;
  /** Removes all toxics and enables all proxies again. */
  heal(): Promise<void>;
  /** Closes all connections and refuses new ones. */
  cut(): Promise<void>;
}

export interface Toxiproxy {
  readonly version: string;
  /** @param upstreamPort a port of the loopback */
  proxy(name: string, upstreamPort: number): Promise<FaultProxy>;
  stop(): Promise<void>;
}

/** Shopify's proxy of TCP faults on a free port of the loopback. */
export async function startToxiproxy(): Promise<Toxiproxy> {
  const [path, port] = [await binary("toxiproxy-server"), await freePort()];
  const api = `http://${HOST}:${port}`;
  const ask = async <T>(method: string, at: string, body?: object): Promise<T> => {
    const answer = await fetch(api + at, { method, ...(body && { body: JSON.stringify(body) }) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`toxiproxy: ${method} ${at} answered ${answer.status}: ${text}`);
    return (text ? JSON.parse(text) : undefined) as T;
  };
  const server = await startProcess(path, ["-host", HOST, "-port", String(port)], () =>
    fetch(`${api}/version`).then((answer) => answer.text()),
  );
  return {
    version: `toxiproxy ${sources["toxiproxy-server"].version}`,
    async proxy(name, upstreamPort) {
      const listenPort = await freePort();
      const addresses = { listen: `${HOST}:${listenPort}`, upstream: `${HOST}:${upstreamPort}` };
      await ask("POST", "/proxies", { name, ...addresses, enabled: true });
      const at = `/proxies/${name}`;
      return {
        name,
        port: listenPort,
        async add(toxic) {
          await ask("POST", `${at}/toxics`, { stream: "downstream", toxicity: 1, ...toxic });
        },
        async heal() {
          await ask("POST", at, { enabled: true });
          const toxics = await ask<{ name: string }[]>("GET", `${at}/toxics`);
          await Promise.all(toxics.map((toxic) => ask("DELETE", `${at}/toxics/${toxic.name}`)));
        },
        async cut() {
          await ask("POST", at, { enabled: false });
        },
      };
    },
    stop: () => server.end("SIGTERM"),
  };
}
