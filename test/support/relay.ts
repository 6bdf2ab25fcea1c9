import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A TCP relay on the loopback that can be cut or held up: what lies between Waybill and a server. */
export async function startRelay(target: string) {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const pairs: [near: Socket, far: Socket][] = [];
  let state: "open" | "cut" | "held" = "open";
  let accepted = 0;
  let open = 0;
  const server = createServer((near) => {
    accepted += 1;
    open += 1;
    near.on("close", () => {
      open -= 1;
    });
    sockets.add(near);
    near.on("error", () => undefined).on("close", () => sockets.delete(near));
    if (state === "cut") return near.destroy();
    if (state === "held") return undefined;
    const far = connect(Number(port), hostname);
    sockets.add(far);
    pairs.push([near, far]);
    far.on("error", () => near.destroy()).on("close", () => sockets.delete(far));
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
    return near.pipe(far).pipe(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const become = (next: typeof state) => {
    state = next;
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Connections that the relay has accepted in all, and those of them that are open. */
    counts: () => ({ accepted, open }),
    /** Connections are refused from now on, and those that are open break. */
    cut: () => become("cut"),
    /** Connections are taken and nothing answers. */
    hold: () => become("held"),
    /** Connections stay open, and nothing goes through them any more. New ones are taken and nothing answers. */
    stall() {
      state = "held";
      for (const [near, far] of pairs) {
        near.unpipe(far).resume();
        far.unpipe(near).resume();
      }
    },
    open: () => become("open"),
    async stop() {
      become("cut");
      server.close();
      await once(server, "close");
    },
  };
}

export type Relay = Awaited<ReturnType<typeof startRelay>>;
