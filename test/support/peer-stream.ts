import { connect, createServer, type Server as NetServer, type Socket } from "node:net";
import { type Client, Metadata } from "@grpc/grpc-js";
import { callCredential } from "moleculer-grpc";
import { decodeBatch, encodeBatch, type Frame } from "../../packages/moleculer-grpc/src/frame-writer.ts";
import { NAMES, SECRET } from "./bridge.ts";

const { prefix, peerStream: PATH } = NAMES;

/** A credential for a peer stream, or for another method. */
export function streamCredential(path = PATH, node = "by hand"): string {
  return callCredential({ secret: SECRET, path, node, prefix });
}

/** The client half of a peer stream by hand: the test writes its messages. */
export function rawPeerStream(client: Client, credential = streamCredential()) {
  const metadata = new Metadata();
  metadata.set(NAMES.credential, credential);
  const stream = client.makeBidiStreamRequest(PATH, asIs, asIs, metadata);
  const received: Frame[] = [];
  const status = new Promise<number>((done) => stream.on("status", ({ code }) => done(code)));
  stream.on("error", () => {});
  stream.on("data", (bytes: Buffer) => received.push(...(decodeBatch(bytes) as Frame[])));
  return { stream, received, status, write: (...frames: Frame[]) => stream.write(encodeBatch(frames)) };
}

/** A TCP proxy that can reset everything that goes through it. */
export async function proxy(address: string) {
  const [host, port] = address.split(":");
  const sockets = new Set<Socket>();
  let connections = 0;
  const between: NetServer = createServer((near) => {
    connections += 1;
    const far = connect({ host, port: Number(port) });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => other.destroy());
      one.pipe(other);
    }
  });
  await new Promise<void>((done) => between.listen(0, "127.0.0.1", done));
  const reset = () => {
    for (const socket of sockets) socket.resetAndDestroy();
    sockets.clear();
  };
  return {
    address: `127.0.0.1:${(between.address() as { port: number }).port}`,
    reset,
    /** How many there have been. */
    connections: () => connections,
    close: async () => {
      reset();
      await new Promise((done) => between.close(done));
    },
  };
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
