import { status as Status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { MAX_STREAM_CALLS } from "../../packages/moleculer-grpc/src/channel-options.ts";
import { type Call, type PeerStreams, peerStreams } from "../../packages/moleculer-grpc/src/client.ts";
import type { Frame } from "../../packages/moleculer-grpc/src/frame-writer.ts";
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
import { proxy, rawPeerStream, streamCredential } from "../support/peer-stream.ts";

const catalogue = protoCatalogue(PROTO_DIR);
const nodes = cluster();
let server: Node;

beforeAll(async () => {
  server = await nodes.server({ nodeID: "server" });
});

afterAll(() => nodes.stopAll());

function callOf(rawAction: string, params: object, timeoutMs = 60_000): Call {
  const { path, request } = catalogue.methodOf(`probe.${rawAction}`) as NonNullable<
    ReturnType<typeof catalogue.methodOf>
  >;
  return { path, request: request.encode(params), metadata: {}, timeoutMs };
}

const echo = () => callOf("echo", EMPTY_ECHO);

async function withStreams(test: (streams: PeerStreams) => Promise<void>, ageMs?: number): Promise<void> {
  const streams = peerStreams(
    { secret: SECRET, node: "caller", names: NAMES, now: Date.now, tls: undefined, report: () => {} },
    ageMs,
  );
  try {
    await test(streams);
  } finally {
    streams.close();
  }
}

describe("a peer stream", () => {
  it("does not delay calls behind a long one", () =>
    withStreams(async (streams) => {
      const long = streams.call("server", server.address, callOf("wait", { key: "long" }));
      await eventually(() => expect(server.state.started).toContain("long"));
      await expect(streams.call("server", server.address, echo())).resolves.toBeInstanceOf(Buffer);
      server.state.waiting.get("long")?.();
      await expect(long).resolves.toBeInstanceOf(Buffer);
    }));

  it("is renewed repeatedly without failing a call, not even a permanent one", () =>
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
      const late = streams.call("server", server.address, callOf("wait", { key: "given up" }, 3_000));
      const refused = expect(late).rejects.toMatchObject({ code: Status.DEADLINE_EXCEEDED });
      await eventually(() => expect(server.state.started).toContain("given up"));
      const context = server.state.contexts.at(-1);
      await streams.call("server", server.address, echo());
      await refused;
      await eventually(() => expect(context?.locals.signal.aborted).toBe(true));
      server.state.waiting.get("given up")?.();
    }, 1));

  it("to a node that has left the registry, still returns the answers of running calls", () =>
    withStreams(async (streams) => {
      const asked = streams.call("server", server.address, callOf("wait", { key: "said to be gone" }));
      await eventually(() => expect(server.state.started).toContain("said to be gone"));
      streams.disconnect("server");
      await expect(streams.call("server", server.address, echo())).resolves.toBeInstanceOf(Buffer);
      server.state.waiting.get("said to be gone")?.();
      await expect(asked).resolves.toBeInstanceOf(Buffer);
    }));

  it("with a broken connection, fails running calls as UNAVAILABLE, aborts their handlers, and reconnects", async () => {
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

  it("accepts a thousand concurrent calls and refuses the next one", () =>
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
  call: { path, timeoutMs: 60_000, metadata: {}, request: echo().request },
});

describe("the server of a peer stream", () => {
  let plain: ReturnType<typeof plainClient>;
  beforeAll(() => {
    plain = plainClient(server.address);
  });
  afterAll(() => plain.close());

  it("answers by the number of the call, and refuses an unknown method and an expired deadline", async () => {
    const { stream, received, write } = rawPeerStream(plain.client);
    const late = call(3);
    (late.call as { timeoutMs: number }).timeoutMs = 0;
    write(call(1), call(2, "/waybill.test.v1.Probe/Nothing"), late);
    await eventually(() => expect(received).toHaveLength(3));
    const byId = new Map(received.map((frame) => [frame.id, frame]));
    expect(byId.get(1)?.response).toBeInstanceOf(Buffer);
    expect(byId.get(2)?.status?.code).toBe(Status.UNIMPLEMENTED);
    expect(byId.get(3)?.status?.code).toBe(Status.DEADLINE_EXCEEDED);
    stream.end();
  });

  it("ends the stream after the client has ended it and every call is answered", async () => {
    const { stream, status, received, write } = rawPeerStream(plain.client);
    write(call(1));
    stream.end();
    await expect(status).resolves.toBe(Status.OK);
    expect(received).toHaveLength(1);
  });

  it("counts a cancelled call, also over another stream, until its handler has ended", async () => {
    const wait = (id: number): Frame => ({
      id,
      call: { ...callOf("wait", { key: `cancelled ${id}` }), timeoutMs: 60_000 },
    });
    const ids = Array.from({ length: MAX_STREAM_CALLS }, (_, index) => index + 1);
    const first = rawPeerStream(plain.client);
    first.write(...ids.map(wait));
    await eventually(() => expect(server.state.started).toContain(`cancelled ${MAX_STREAM_CALLS}`));
    first.write(...ids.map((id) => ({ id, cancel: true })));
    await eventually(() => expect(server.state.contexts.at(-1)?.locals.signal.aborted).toBe(true));
    first.stream.end();
    await first.status;
    const second = rawPeerStream(plain.client);
    second.write(call(1));
    await eventually(() => expect(second.received).toHaveLength(1));
    expect(second.received[0]?.status?.code).toBe(Status.RESOURCE_EXHAUSTED);
    for (const id of ids) server.state.waiting.get(`cancelled ${id}`)?.();
    let next = 2;
    await eventually(async () => {
      const asked = next++;
      second.write(call(asked));
      await eventually(() => expect(second.received.find(({ id }) => id === asked)).toBeDefined());
      expect(second.received.find(({ id }) => id === asked)?.response).toBeInstanceOf(Buffer);
    });
    second.stream.end();
  });

  it("refuses the credential of another method", async () => {
    const { status } = rawPeerStream(plain.client, streamCredential(echo().path));
    await expect(status).resolves.toBe(Status.UNAUTHENTICATED);
  });

  it("closes the stream at an invalid batch, and starts none of its calls", async () => {
    const before = server.state.contexts.length;
    const { stream, status } = rawPeerStream(plain.client);
    stream.write(Buffer.from([0x0a, 0xff]));
    await expect(status).resolves.toBe(Status.INVALID_ARGUMENT);
    expect(server.state.contexts).toHaveLength(before);
  });

  it("still serves plain clients beside peer streams", () =>
    withStreams(async (streams) => {
      const over = streams.call("server", server.address, echo());
      await expect(plain.call("Echo", { ...EMPTY_ECHO, colour: 1 })).resolves.toMatchObject({ colour: 1 });
      await expect(plain.call("Echo", {}, { metadata: credential(NAMES.peerStream) })).rejects.toMatchObject({
        code: Status.UNAUTHENTICATED,
      });
      await over;
    }));
});
