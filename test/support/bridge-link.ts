import { connect, createServer, type Server as NetServer, type Socket } from "node:net";
import { type Client, Metadata, Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { LINK_PATH } from "../../mixins/grpc/channel-options.ts";
import { bridgeCredential, CREDENTIAL_KEY } from "../../mixins/grpc/credential.ts";
import { type Frame, fromBatch } from "../../mixins/grpc/link-frames.ts";
import { linkOpener, linkSealer, NONCE_KEY } from "../../mixins/grpc/link-seal.ts";
import { SECRET } from "./bridge.ts";

/** A credential that opens a link, or another method's. */
export function linkCredential(path = LINK_PATH): string {
  return bridgeCredential({ secret: SECRET, path, node: "by hand" });
}

/** The asking half by hand: what it sends is what the test says. */
export async function rawLink(client: Client, word = linkCredential()) {
  const metadata = new Metadata();
  metadata.set(CREDENTIAL_KEY, word);
  const stream = client.makeBidiStreamRequest(LINK_PATH, asIs, asIs, metadata);
  const heard: Frame[] = [];
  const status = new Promise<number>((done) => stream.on("status", ({ code }) => done(code)));
  stream.on("error", () => {});
  const nonce = await Promise.race([
    new Promise<Buffer>((done) =>
      stream.on("metadata", (answered) => done(answered.get(NONCE_KEY)[0] as Buffer)),
    ),
    status.then(() => Buffer.alloc(0)),
  ]);
  const secrets = { secret: SECRET, credential: word, nonce };
  const open = linkOpener("answered", secrets);
  stream.on("data", (sealed: Buffer) => heard.push(...(fromBatch(open(sealed) as Buffer) as Frame[])));
  return { stream, heard, status, seal: linkSealer("asked", secrets) };
}

/** A server that is none of ours, and says over links what the test says. */
export async function strangersServer(answers: (stream: ServerDuplexStream<Buffer, Buffer>) => void) {
  const stranger = new Server();
  const method = { path: LINK_PATH, requestStream: true, responseStream: true };
  const raw = {
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  stranger.addService({ Link: { ...method, ...raw } }, { Link: answers });
  const port = await new Promise<number>((done, failed) => {
    const bound = (error: Error | null, actual: number) => (error ? failed(error) : done(actual));
    stranger.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), bound);
  });
  return { address: `127.0.0.1:${port}`, stop: () => stranger.forceShutdown() };
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
