import { Metadata, type ServerDuplexStream, status as Status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { MAX_STREAM_CALLS } from "../../packages/moleculer-grpc/src/channel-options.ts";
import { macSigner } from "../../packages/moleculer-grpc/src/frame-mac.ts";
import { encodeBatch, type Frame } from "../../packages/moleculer-grpc/src/frame-writer.ts";
import {
  type Call,
  type PeerStreams,
  peerStreams,
} from "../../packages/moleculer-grpc/src/peer-stream-client.ts";
import { protoCatalogue } from "../../packages/moleculer-grpc/src/proto-catalogue.ts";
import {
  cluster,
  credential,
  EMPTY_ECHO,
  NAMES,
  type Node,
  PROTO_DIR,
  plainClient,
  SECRET,
} from "../support/bridge.ts";
import { eventually } from "../support/eventually.ts";
import { foreignServer, proxy, rawPeerStream, streamCredential } from "../support/peer-stream.ts";

const catalogue = protoCatalogue(PROTO_DIR);
const nodes = cluster();
let server: Node;

beforeAll(async () => {
  server = await nodes.server({ nodeID: "server" });
});

afterAll(() => nodes.stopAll());

function callOf(rawAction: string, params: object, timeoutMs = 5_000): Call {
  const { path, request } = catalogue.methodOf(`probe.${rawAction}`) as NonNullable<
    ReturnType<typeof catalogue.methodOf>
  >;
  return { path, request: request.encode(params), metadata: {}, timeoutMs };
}

const echo = () => callOf("echo", EMPTY_ECHO);

async function withStreams(test: (streams: PeerStreams) => Promise<void>, ageMs?: number): Promise<void> {
  const streams = peerStreams({ secret: SECRET, node: "caller", names: NAMES, now: Date.now }, ageMs);
  try {
    await test(streams);
  } finally {
    streams.close();
  }
}

describe("a peer stream", () => {
  it("does not hold up calls behind one that takes long", () =>
    withStreams(async (streams) => {
      const long = streams.call("server", server.address, callOf("wait", { key: "long" }));
      await eventually(() => expect(server.state.started).toContain("long"));
      await expect(streams.call("server", server.address, echo())).resolves.toBeInstanceOf(Buffer);
      server.state.waiting.get("long")?.();
      await expect(long).resolves.toBeInstanceOf(Buffer);
    }));

  it("is renewed again and again without failing a call, not even one that is under way all the time", () =>
    withStreams(async (streams) => {
      const long = streams.call("server", server.address, callOf("wait", { key: "renewed" }));
      await eventually(() => expect(server.state.started).toContain("renewed"));
      for (let round = 0; round < 50; round++) {
        await Promise.all(Array.from({ length: 4 }, () => streams.call("server", server.address, echo())));
      }
      server.state.waiting.get("renewed")?.();
      await expect(long).resolves.toBeInstanceOf(Buffer);
    }, 1));

  it("aborts the handler of a call that times out after the stream was renewed", () =>
    withStreams(async (streams) => {
      const late = streams.call("server", server.address, callOf("wait", { key: "given up" }, 300));
      await eventually(() => expect(server.state.started).toContain("given up"));
      const context = server.state.contexts.at(-1);
      await streams.call("server", server.address, echo());
      await expect(late).rejects.toMatchObject({ code: Status.DEADLINE_EXCEEDED });
      await eventually(() => expect(context?.locals.signal.aborted).toBe(true));
      server.state.waiting.get("given up")?.();
    }, 1));

  it("to a node that is said to be gone, still brings the answer of what is under way", () =>
    withStreams(async (streams) => {
      const asked = streams.call("server", server.address, callOf("wait", { key: "said to be gone" }));
      await eventually(() => expect(server.state.started).toContain("said to be gone"));
      streams.disconnect("server");
      await expect(streams.call("server", server.address, echo())).resolves.toBeInstanceOf(Buffer);
      server.state.waiting.get("said to be gone")?.();
      await expect(asked).resolves.toBeInstanceOf(Buffer);
    }));

  it("whose connection breaks, fails what is under way as UNAVAILABLE, tells its handlers, and comes back", async () => {
    const between = await proxy(server.address);
    await withStreams(async (streams) => {
      const lost = streams.call("server", between.address, callOf("wait", { key: "lost" }));
      await eventually(() => expect(server.state.started).toContain("lost"));
      const context = server.state.contexts.at(-1);
      between.reset();
      await expect(lost).rejects.toMatchObject({ code: Status.UNAVAILABLE });
      await eventually(() => expect(context?.locals.signal.aborted).toBe(true));
      server.state.waiting.get("lost")?.();
      await eventually(async () => {
        await expect(streams.call("server", between.address, echo())).resolves.toBeInstanceOf(Buffer);
      });
    });
    await between.close();
  });

  it("takes a thousand calls at once and refuses the next one", () =>
    withStreams(async (streams) => {
      const asked = Array.from({ length: MAX_STREAM_CALLS }, () =>
        streams.call("server", server.address, echo()),
      );
      const beyond = streams.call("server", server.address, echo());
      await expect(beyond).rejects.toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
      await expect(Promise.all(asked)).resolves.toHaveLength(MAX_STREAM_CALLS);
    }));
});

const call = (id: number, path = echo().path): Frame => ({
  id,
  call: { path, timeoutMs: 1_000, metadata: {}, request: echo().request },
});

describe("the server of a peer stream", () => {
  let plain: ReturnType<typeof plainClient>;
  beforeAll(() => {
    plain = plainClient(server.address);
  });
  afterAll(() => plain.close());

  it("answers by the number of the call, and refuses a method that is not there and time that is over", async () => {
    const { stream, received, sign } = await rawPeerStream(plain.client);
    const late = call(3);
    (late.call as { timeoutMs: number }).timeoutMs = 0;
    stream.write(sign(encodeBatch([call(1), call(2, "/waybill.test.v1.Probe/Nothing"), late])));
    await eventually(() => expect(received).toHaveLength(3));
    const byId = new Map(received.map((frame) => [frame.id, frame]));
    expect(byId.get(1)?.response).toBeInstanceOf(Buffer);
    expect(byId.get(2)?.status?.code).toBe(Status.UNIMPLEMENTED);
    expect(byId.get(3)?.status?.code).toBe(Status.DEADLINE_EXCEEDED);
    stream.end();
  });

  it("ends the stream when the client has ended it and every call is answered", async () => {
    const { stream, status, received, sign } = await rawPeerStream(plain.client);
    stream.write(sign(encodeBatch([call(1)])));
    stream.end();
    await expect(status).resolves.toBe(Status.OK);
    expect(received).toHaveLength(1);
  });

  it("keeps the place of a call that was cancelled, also over another stream, until its handler has ended", async () => {
    const wait = (id: number): Frame => ({
      id,
      call: { ...callOf("wait", { key: `cancelled ${id}` }), timeoutMs: 300 },
    });
    const ids = Array.from({ length: MAX_STREAM_CALLS }, (_, index) => index + 1);
    const first = await rawPeerStream(plain.client);
    first.stream.write(first.sign(encodeBatch(ids.map(wait))));
    await eventually(() => expect(server.state.started).toContain(`cancelled ${MAX_STREAM_CALLS}`));
    first.stream.write(first.sign(encodeBatch(ids.map((id) => ({ id, cancel: true })))));
    await eventually(() => expect(server.state.contexts.at(-1)?.locals.signal.aborted).toBe(true));
    first.stream.end();
    await first.status;
    const second = await rawPeerStream(plain.client);
    second.stream.write(second.sign(encodeBatch([call(1)])));
    await eventually(() => expect(second.received).toHaveLength(1));
    expect(second.received[0]?.status?.code).toBe(Status.RESOURCE_EXHAUSTED);
    for (const id of ids) server.state.waiting.get(`cancelled ${id}`)?.();
    let next = 2;
    await eventually(async () => {
      const asked = next++;
      second.stream.write(second.sign(encodeBatch([call(asked)])));
      await eventually(() => expect(second.received.find(({ id }) => id === asked)).toBeDefined());
      expect(second.received.find(({ id }) => id === asked)?.response).toBeInstanceOf(Buffer);
    });
    second.stream.end();
  });

  it("is not opened by the credential of another method", async () => {
    const { status } = await rawPeerStream(plain.client, streamCredential(echo().path));
    await expect(status).resolves.toBe(Status.UNAUTHENTICATED);
  });

  it.each<[string, (sign: (bytes: Buffer) => Buffer) => Buffer[]]>([
    ["without a MAC", () => [encodeBatch([call(1)])]],
    ["that is shorter than a MAC", () => [Buffer.alloc(3)]],
    ["whose last byte was changed", (sign) => [changed(sign(encodeBatch([call(1)])))]],
    ["that was received before", (sign) => repeated(sign(encodeBatch([])))],
    [
      "that comes before the one before it",
      (sign) => [sign(encodeBatch([])), sign(encodeBatch([call(1)]))].reverse(),
    ],
    ["with a valid MAC that is no batch", (sign) => [sign(Buffer.from([0x0a, 0xff]))]],
  ])("closes the stream at a message %s, and starts nothing of it", async (_, messages) => {
    const before = server.state.contexts.length;
    const { stream, status, sign } = await rawPeerStream(plain.client);
    for (const message of messages(sign)) stream.write(message);
    await expect(status).resolves.toBe(Status.UNAUTHENTICATED);
    expect(server.state.contexts).toHaveLength(before);
  });

  it("closes the stream at a message of another stream with the same credential: its nonce was another", async () => {
    const shared = streamCredential();
    const [first, second] = await Promise.all([
      rawPeerStream(plain.client, shared),
      rawPeerStream(plain.client, shared),
    ]);
    second.stream.write(first.sign(encodeBatch([call(1)])));
    await expect(second.status).resolves.toBe(Status.UNAUTHENTICATED);
    first.stream.end();
  });

  it("lets plain clients call on as they did, while peer streams are in use", () =>
    withStreams(async (streams) => {
      const over = streams.call("server", server.address, echo());
      await expect(plain.call("Echo", { ...EMPTY_ECHO, colour: 1 })).resolves.toMatchObject({ colour: 1 });
      await expect(plain.call("Echo", {}, { metadata: credential(NAMES.peerStream) })).rejects.toMatchObject({
        code: Status.UNAUTHENTICATED,
      });
      await over;
    }));
});

describe("the client of a peer stream", () => {
  it.each<[string, (stream: ServerDuplexStream<Buffer, Buffer>) => void]>([
    ["draws no nonce", (stream) => stream.sendMetadata(new Metadata())],
    [
      "does not know the secret",
      (stream) => {
        stream.sendMetadata(nonceOf(Buffer.alloc(16, 1)));
        const credential = String(stream.metadata.get(NAMES.credential)[0]);
        const nonce = Buffer.alloc(16, 1);
        const keys = { secret: "another secret", credential, nonce, prefix: NAMES.prefix };
        const frame = { id: 1, response: Buffer.from("forged") };
        stream.write(macSigner("answered", keys)(encodeBatch([frame])));
      },
    ],
  ])("does not trust one that %s", async (_, handle) => {
    const stranger = await foreignServer(handle);
    await withStreams(async (streams) => {
      await expect(streams.call("stranger", stranger.address, echo())).rejects.toMatchObject({
        code: Status.UNAUTHENTICATED,
      });
    });
    stranger.stop();
  });
});

function changed(bytes: Buffer): Buffer {
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
  return bytes;
}

function repeated(bytes: Buffer): Buffer[] {
  return [bytes, Buffer.from(bytes)];
}

function nonceOf(nonce: Buffer): Metadata {
  const metadata = new Metadata();
  metadata.set(NAMES.nonce, nonce);
  return metadata;
}
