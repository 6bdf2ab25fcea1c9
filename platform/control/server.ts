import { chmodSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { typeOf } from "../../contracts/errors.ts";
import { busRelay } from "./bus-relay.ts";
import { frames } from "./frames.ts";
import type { ControlRequest, ControlRequests, FromPlatform, ToPlatform } from "./protocol.ts";

export type ControlHandlers = {
  [R in ControlRequest]: (
    params: ControlRequests[R]["params"],
  ) => ControlRequests[R]["result"] | Promise<ControlRequests[R]["result"]>;
};

/**
 * Lets operators on this machine join the running platform. The file system controls access: only the owner can open
 * the socket, as with the data folder and its secrets.
 * @param namespace connections may exchange packets only with brokers of this namespace
 * @returns a function that stops the server and closes its connections
 */
export async function startControlServer(
  path: string,
  namespace: string,
  handlers: ControlHandlers,
): Promise<() => Promise<void>> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const { send } = frames<ToPlatform, FromPlatform>(socket, (frame) => {
      if (!("request" in frame)) return relay.receive(frame);
      const { id, request, params } = frame;
      const handle = handlers[request] as ((params: object) => unknown) | undefined;
      Promise.resolve()
        .then(() => {
          if (!handle || !Object.hasOwn(handlers, request)) throw new Error(`no such request: ${request}`);
          return handle(params);
        })
        .then(
          (result) => send({ id, result }),
          (error: Error) =>
            send({ id, error: { type: typeOf(error) ?? "INTERNAL", message: error.message } }),
        );
    });
    const relay = busRelay(namespace, (topic, data) => send({ topic, data: data.toString("base64") }));
    socket.on("error", () => undefined);
    socket.on("close", () => {
      sockets.delete(socket);
      relay.close();
    });
  });
  // We hold the data folder's lock, so an existing socket belongs to a process that was killed.
  rmSync(path, { force: true });
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(path, resolve);
    });
    chmodSync(path, 0o600);
  } finally {
    process.umask(umask);
  }
  return async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
}
