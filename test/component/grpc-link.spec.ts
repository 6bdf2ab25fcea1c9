import { Metadata, type ServerDuplexStream, status as Status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { systemClock } from "../../lib/clock.ts";
import { LINK_PATH, MAX_LINK_CALLS } from "../../mixins/grpc/channel-options.ts";
import { CREDENTIAL_KEY } from "../../mixins/grpc/credential.ts";
import type { Ask } from "../../mixins/grpc/link-client.ts";
import { type Frame, toBatch } from "../../mixins/grpc/link-frames.ts";
import { linkSealer, NONCE_KEY } from "../../mixins/grpc/link-seal.ts";
import { type Links, openLinks } from "../../mixins/grpc/links.ts";
import { protoCatalogue } from "../../mixins/grpc/proto-catalogue.ts";
import {
  cluster,
  credential,
  EMPTY_ECHO,
  type Node,
  PROTO_DIR,
  plainClient,
  SECRET,
} from "../support/bridge.ts";
import { linkCredential, proxy, rawLink, strangersServer } from "../support/bridge-link.ts";
import { eventually } from "../support/eventually.ts";

const catalogue = protoCatalogue(PROTO_DIR);
const nodes = cluster();
let server: Node;

beforeAll(async () => {
  server = await nodes.server({ nodeID: "server" });
});

afterAll(() => nodes.stopAll());

function ask(rawAction: string, params: object, timeoutMs = 5_000): Ask {
  const { path, request } = catalogue.methodOf(`probe.${rawAction}`) as NonNullable<
    ReturnType<typeof catalogue.methodOf>
  >;
  return { path, request: request.encode(params), facts: {}, timeoutMs };
}

const echo = () => ask("echo", EMPTY_ECHO);

async function withLinks(test: (links: Links) => Promise<void>, ageMs?: number): Promise<void> {
  const links = openLinks({ secret: SECRET, node: "caller", clock: systemClock }, ageMs);
  try {
    await test(links);
  } finally {
    links.close();
  }
}

describe("a link", () => {
  it("does not hold up calls behind one that takes long", () =>
    withLinks(async (links) => {
      const long = links.call("server", server.address, ask("wait", { key: "long" }));
      await eventually(() => expect(server.state.started).toContain("long"));
      await expect(links.call("server", server.address, echo())).resolves.toBeInstanceOf(Buffer);
      server.state.waiting.get("long")?.();
      await expect(long).resolves.toBeInstanceOf(Buffer);
    }));

  it("is renewed again and again without failing a call, not even one that is under way all the time", () =>
    withLinks(async (links) => {
      const long = links.call("server", server.address, ask("wait", { key: "renewed" }));
      await eventually(() => expect(server.state.started).toContain("renewed"));
      for (let round = 0; round < 50; round++) {
        await Promise.all(Array.from({ length: 4 }, () => links.call("server", server.address, echo())));
      }
      server.state.waiting.get("renewed")?.();
      await expect(long).resolves.toBeInstanceOf(Buffer);
    }, 1));

  it("tells the handler of a call that is given up after the link was renewed", () =>
    withLinks(async (links) => {
      const late = links.call("server", server.address, ask("wait", { key: "given up" }, 300));
      await eventually(() => expect(server.state.started).toContain("given up"));
      const context = server.state.contexts.at(-1);
      await links.call("server", server.address, echo());
      await expect(late).rejects.toMatchObject({ code: Status.DEADLINE_EXCEEDED });
      await eventually(() => expect(context?.locals.signal.aborted).toBe(true));
      server.state.waiting.get("given up")?.();
    }, 1));

  it("to a node that is said to be gone, still brings the answer of what is under way", () =>
    withLinks(async (links) => {
      const asked = links.call("server", server.address, ask("wait", { key: "said to be gone" }));
      await eventually(() => expect(server.state.started).toContain("said to be gone"));
      links.forget("server");
      await expect(links.call("server", server.address, echo())).resolves.toBeInstanceOf(Buffer);
      server.state.waiting.get("said to be gone")?.();
      await expect(asked).resolves.toBeInstanceOf(Buffer);
    }));

  it("whose connection breaks, fails what is under way as UNAVAILABLE, tells its handlers, and comes back", async () => {
    const between = await proxy(server.address);
    await withLinks(async (links) => {
      const lost = links.call("server", between.address, ask("wait", { key: "lost" }));
      await eventually(() => expect(server.state.started).toContain("lost"));
      const context = server.state.contexts.at(-1);
      between.reset();
      await expect(lost).rejects.toMatchObject({ code: Status.UNAVAILABLE });
      await eventually(() => expect(context?.locals.signal.aborted).toBe(true));
      server.state.waiting.get("lost")?.();
      await eventually(async () => {
        await expect(links.call("server", between.address, echo())).resolves.toBeInstanceOf(Buffer);
      });
    });
    await between.close();
  });

  it("takes a thousand calls at once and refuses the next one", () =>
    withLinks(async (links) => {
      const asked = Array.from({ length: MAX_LINK_CALLS }, () =>
        links.call("server", server.address, echo()),
      );
      const beyond = links.call("server", server.address, echo());
      await expect(beyond).rejects.toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
      await expect(Promise.all(asked)).resolves.toHaveLength(MAX_LINK_CALLS);
    }));
});

const call = (id: number, path = echo().path): Frame => ({
  id,
  call: { path, timeoutMs: 1_000, facts: {}, request: echo().request },
});

describe("the answering side of a link", () => {
  let plain: ReturnType<typeof plainClient>;
  beforeAll(() => {
    plain = plainClient(server.address);
  });
  afterAll(() => plain.close());

  it("answers by the number of the call, and refuses a method that is not there and time that is over", async () => {
    const { stream, heard, seal } = await rawLink(plain.client);
    const late = call(3);
    (late.call as { timeoutMs: number }).timeoutMs = 0;
    stream.write(seal(toBatch([call(1), call(2, "/waybill.test.v1.Probe/Nothing"), late])));
    await eventually(() => expect(heard).toHaveLength(3));
    const byId = new Map(heard.map((frame) => [frame.id, frame]));
    expect(byId.get(1)?.answer).toBeInstanceOf(Buffer);
    expect(byId.get(2)?.refusal?.code).toBe(Status.UNIMPLEMENTED);
    expect(byId.get(3)?.refusal?.code).toBe(Status.DEADLINE_EXCEEDED);
    stream.end();
  });

  it("ends the link when the asking side has nothing more to ask", async () => {
    const { stream, status, heard, seal } = await rawLink(plain.client);
    stream.write(seal(toBatch([call(1)])));
    stream.end();
    await expect(status).resolves.toBe(Status.OK);
    expect(heard).toHaveLength(1);
  });

  it("keeps the place of a call that was cancelled, also over another link, until its handler has ended", async () => {
    const wait = (id: number): Frame => ({
      id,
      call: { ...ask("wait", { key: `cancelled ${id}` }), timeoutMs: 300 },
    });
    const ids = Array.from({ length: MAX_LINK_CALLS }, (_, index) => index + 1);
    const first = await rawLink(plain.client);
    first.stream.write(first.seal(toBatch(ids.map(wait))));
    await eventually(() => expect(server.state.started).toContain(`cancelled ${MAX_LINK_CALLS}`));
    first.stream.write(first.seal(toBatch(ids.map((id) => ({ id, cancel: true })))));
    await eventually(() => expect(server.state.contexts.at(-1)?.locals.signal.aborted).toBe(true));
    first.stream.end();
    await first.status;
    const second = await rawLink(plain.client);
    second.stream.write(second.seal(toBatch([call(1)])));
    await eventually(() => expect(second.heard).toHaveLength(1));
    expect(second.heard[0]?.refusal?.code).toBe(Status.RESOURCE_EXHAUSTED);
    for (const id of ids) server.state.waiting.get(`cancelled ${id}`)?.();
    let next = 2;
    await eventually(async () => {
      const asked = next++;
      second.stream.write(second.seal(toBatch([call(asked)])));
      await eventually(() => expect(second.heard.find(({ id }) => id === asked)).toBeDefined());
      expect(second.heard.find(({ id }) => id === asked)?.answer).toBeInstanceOf(Buffer);
    });
    second.stream.end();
  });

  it("lets nobody open a link by the credential of another method", async () => {
    const { status } = await rawLink(plain.client, linkCredential(echo().path));
    await expect(status).resolves.toBe(Status.UNAUTHENTICATED);
  });

  it.each<[string, (seal: (bytes: Buffer) => Buffer) => Buffer[]]>([
    ["that is not sealed", () => [toBatch([call(1)])]],
    ["that is shorter than a seal", () => [Buffer.alloc(3)]],
    ["whose last byte was changed", (seal) => [changed(seal(toBatch([call(1)])))]],
    ["that was heard before", (seal) => repeated(seal(toBatch([])))],
    [
      "that comes before the one before it",
      (seal) => [seal(toBatch([])), seal(toBatch([call(1)]))].reverse(),
    ],
    ["that is well sealed and no batch", (seal) => [seal(Buffer.from([0x0a, 0xff]))]],
  ])("cuts the link at a message %s, and starts nothing of it", async (_, messages) => {
    const before = server.state.contexts.length;
    const { stream, status, seal } = await rawLink(plain.client);
    for (const message of messages(seal)) stream.write(message);
    await expect(status).resolves.toBe(Status.UNAUTHENTICATED);
    expect(server.state.contexts).toHaveLength(before);
  });

  it("cuts the link at a message of another one that had the same credential: its nonce was another", async () => {
    const word = linkCredential();
    const [first, second] = await Promise.all([rawLink(plain.client, word), rawLink(plain.client, word)]);
    second.stream.write(first.seal(toBatch([call(1)])));
    await expect(second.status).resolves.toBe(Status.UNAUTHENTICATED);
    first.stream.end();
  });

  it("lets plain clients call on as they did, while links are in use", () =>
    withLinks(async (links) => {
      const over = links.call("server", server.address, echo());
      await expect(plain.call("Echo", { ...EMPTY_ECHO, colour: 1 })).resolves.toMatchObject({ colour: 1 });
      await expect(plain.call("Echo", {}, { metadata: credential(LINK_PATH) })).rejects.toMatchObject({
        code: Status.UNAUTHENTICATED,
      });
      await over;
    }));
});

describe("the asking side of a link", () => {
  it.each<[string, (stream: ServerDuplexStream<Buffer, Buffer>) => void]>([
    ["draws no nonce", (stream) => stream.sendMetadata(new Metadata())],
    [
      "does not know the secret",
      (stream) => {
        stream.sendMetadata(nonceOf(Buffer.alloc(16, 1)));
        const word = String(stream.metadata.get(CREDENTIAL_KEY)[0]);
        const secrets = { secret: "another secret", credential: word, nonce: Buffer.alloc(16, 1) };
        const answer = { id: 1, answer: Buffer.from("believe me") };
        stream.write(linkSealer("answered", secrets)(toBatch([answer])));
      },
    ],
  ])("believes nobody who %s", async (_, answers) => {
    const stranger = await strangersServer(answers);
    await withLinks(async (links) => {
      await expect(links.call("stranger", stranger.address, echo())).rejects.toMatchObject({
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
  metadata.set(NONCE_KEY, nonce);
  return metadata;
}
