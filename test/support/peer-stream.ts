import { connect, createServer, type Server as NetServer, type Socket } from "node:net";
import { type Client, Metadata, Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { callCredential } from "moleculer-grpc";
import { macSigner, macVerifier } from "../../packages/moleculer-grpc/src/frame-mac.ts";
import { decodeBatch, type Frame } from "../../packages/moleculer-grpc/src/frame-writer.ts";
import { NAMES, SECRET } from "./bridge.ts";

const { prefix, peerStream: PATH } = NAMES;

/** A credential for a peer stream, or for another method. */
export function streamCredential(path = PATH): string {
  return callCredential({ secret: SECRET, path, node: "by hand", prefix });
}

/** The client half of a peer stream by hand: the test writes its messages. */
export async function rawPeerStream(client: Client, credential = streamCredential()) {
  const metadata = new Metadata();
  metadata.set(NAMES.credential, credential);
  const stream = client.makeBidiStreamRequest(PATH, asIs, asIs, metadata);
  const received: Frame[] = [];
  const status = new Promise<number>((done) => stream.on("status", ({ code }) => done(code)));
  stream.on("error", () => {});
  const nonce = await Promise.race([
    new Promise<Buffer>((done) =>
      stream.on("metadata", (headers) => done(headers.get(NAMES.nonce)[0] as Buffer)),
    ),
    status.then(() => Buffer.alloc(0)),
  ]);
  const keys = { secret: SECRET, credential, nonce, prefix };
  const verify = macVerifier("answered", keys);
  stream.on("data", (signed: Buffer) => received.push(...(decodeBatch(verify(signed) as Buffer) as Frame[])));
  return { stream, received, status, sign: macSigner("asked", keys) };
}

/** A server that does not know the secret; the test writes its messages on peer streams. */
export async function foreignServer(handle: (stream: ServerDuplexStream<Buffer, Buffer>) => void) {
  const server = new Server();
  const method = { path: PATH, requestStream: true, responseStream: true };
  const raw = {
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  server.addService({ Link: { ...method, ...raw } }, { Link: handle });
  const port = await new Promise<number>((done, failed) => {
    const bound = (error: Error | null, actual: number) => (error ? failed(error) : done(actual));
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), bound);
  });
  return { address: `127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}

/** A TCP proxy that can reset everything that goes through it. */
export async function proxy(address: string) {
  const [host, port] = address.split(":");
  const sockets = new Set<Socket>();
  const between: NetServer = createServer((near) => {
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
    close: async () => {
      reset();
      await new Promise((done) => between.close(done));
    },
  };
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
