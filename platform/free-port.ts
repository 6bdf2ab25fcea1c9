import { createServer } from "node:net";

/**
 * Below the ports that kernels give to outgoing connections: one of those could be taken between the moment
 * that it was found free and the moment that its server listens, seconds later.
 */
const FIRST = 20_000;
const LAST = 32_000;
const TRIES = 50;
/** More ports than a process asks for. */
const PORTS_OF_A_PROCESS = 97;

let drawn = 0;

/**
 * A TCP port of this machine that nobody listens on at this moment; another one each time. Processes that start
 * together begin at places of their own, or two might find the same port free before either listens.
 * @throws Error when fifty were taken
 */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  for (let left = TRIES; left > 0; left--) {
    const place = process.pid * PORTS_OF_A_PROCESS + drawn++;
    const port = FIRST + (place % (LAST - FIRST));
    if (await isPortFree(port, host)) return port;
  }
  throw new Error(`no free port was found on ${host}`);
}

/** Whether a server could listen there now. */
export function isPortFree(port: number, host = "127.0.0.1"): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
