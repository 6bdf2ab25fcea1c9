import { createServer } from "node:net";

/**
 * Below the ephemeral ports of kernels: an outgoing connection could take one of those before our server listens on it,
 * seconds later.
 */
const FIRST = 20_000;
const LAST = 32_000;
const TRIES = 50;
/** More than a process needs. */
const PORTS_OF_A_PROCESS = 97;

let drawn = 0;

/**
 * A TCP port that is free at this moment; another one each time. Each process starts at its own offset, so that two
 * processes do not choose the same port before either listens.
 * @throws Error when fifty ports were in use
 */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  for (let left = TRIES; left > 0; left--) {
    const offset = process.pid * PORTS_OF_A_PROCESS + drawn++;
    const port = FIRST + (offset % (LAST - FIRST));
    if (await isPortFree(port, host)) return port;
  }
  throw new Error(`no free port was found on ${host}`);
}

/** Whether a server can listen on the port now. */
export function isPortFree(port: number, host = "127.0.0.1"): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
