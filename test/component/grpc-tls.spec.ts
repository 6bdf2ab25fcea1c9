import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:tls";
import { Client, credentials, Server, ServerCredentials, status as Status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { callCredential, sharedServer, TlsFileError } from "moleculer-grpc";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { type PeerStreams, peerStreams } from "../../packages/moleculer-grpc/src/client.ts";
import { type Method, protoCatalogue } from "../../packages/moleculer-grpc/src/proto-catalogue.ts";
import { tlsIdentity } from "../../packages/moleculer-grpc/src/tls.ts";
import { certificateWarning, nodeBridge } from "../../platform/grpc.ts";
import {
  cluster,
  credential,
  EMPTY_ECHO,
  NAMES,
  type Node,
  PROTO_DIR,
  plainClient,
  probeBridge,
  SECRET,
} from "../support/bridge.ts";
import { authority, certificateFolder, EXPIRED, type Files } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { proxy, rawPeerStream, streamCredential } from "../support/peer-stream.ts";

const ours = authority();
const foreign = authority();
const certificates = certificateFolder();
const files = {
  server: certificates.write("server", ours),
  caller: certificates.write("caller", ours),
  foreign: certificates.write("caller", foreign, { ca: ours.cert, as: "foreign" }),
  foreignServer: certificates.write("server", foreign, { ca: ours.cert, as: "foreign-server" }),
  expired: certificates.write("caller", ours, { validity: EXPIRED, as: "expired" }),
  expiredServer: certificates.write("server", ours, { validity: EXPIRED, as: "expired-server" }),
};
const catalogue = protoCatalogue(PROTO_DIR);
const echo = catalogue.methodOf("probe.echo") as Method;
const nodes = cluster();
let server: Node;
let caller: Node;

beforeAll(async () => {
  server = await nodes.server({ nodeID: "server", bridge: { tls: files.server } });
  caller = await nodes.start({ nodeID: "caller", bridge: { tls: files.caller } });
  await caller.broker.waitForServices("probe");
});

afterAll(async () => {
  await nodes.stopAll();
  certificates.remove();
});

/** Connects as grpc-js does it by itself, with these files. */
function channelWith({ ca, cert, key }: Partial<Files> & Pick<Files, "ca">): Client {
  const read = (path: string | undefined) => (path === undefined ? null : readFileSync(path));
  return new Client(server.address, credentials.createSsl(readFileSync(ca), read(key), read(cert)), {
    "grpc.ssl_target_name_override": "server",
    "grpc.enable_http_proxy": 0,
  });
}

describe("nodes with certificates", () => {
  it("call each other, and refuse a client without TLS", async () => {
    await expect(caller.broker.call("probe.echo", EMPTY_ECHO)).resolves.toMatchObject({ colour: "red" });
    const plain = plainClient(server.address);
    await expect(plain.call("Echo", {}, { deadline: Date.now() + 2_000 })).rejects.toMatchObject({
      code: Status.UNAVAILABLE,
    });
    plain.close();
  });

  it.each<[string, Partial<Files> & Pick<Files, "ca">, string]>([
    ["no certificate", { ca: files.server.ca }, "caller"],
    ["a certificate of another authority", files.foreign, "caller"],
    ["an expired certificate", files.expired, "caller"],
    ["a certificate with the name of another node", files.server, "caller"],
  ])("accept no peer stream from a client with %s", async (_, files, node) => {
    const before = server.state.contexts.length;
    const client = channelWith(files);
    const { stream, status, write } = rawPeerStream(client, streamCredential(NAMES.peerStream, node));
    const request = echo.request.encode(EMPTY_ECHO);
    write({ id: 1, call: { path: echo.path, timeoutMs: 1_000, metadata: {}, request } });
    stream.end(); // an accepted stream ends with OK
    await expect(status).resolves.toBe(Status.UNAUTHENTICATED);
    expect(server.state.contexts).toHaveLength(before);
    client.close();
  });

  it("accept a peer stream from a client with the certificate of its node", async () => {
    const client = channelWith(files.caller);
    const { stream, received, write } = rawPeerStream(client, streamCredential(NAMES.peerStream, "caller"));
    const request = echo.request.encode(EMPTY_ECHO);
    write({ id: 1, call: { path: echo.path, timeoutMs: 1_000, metadata: {}, request } });
    await eventually(() => expect(received[0]?.response).toBeInstanceOf(Buffer));
    stream.end();
    client.close();
  });

  it("answer a plain client by its credential alone, unless it has the name of a node", async () => {
    const client = channelWith({ ca: files.server.ca });
    const call = (node: string) =>
      new Promise<unknown>((done, failed) => {
        const metadata = credential(echo.path);
        const options = { secret: SECRET, path: echo.path, node, prefix: NAMES.prefix };
        metadata.set(NAMES.credential, callCredential(options));
        const asIs = (bytes: Buffer) => bytes;
        const request = echo.request.encode(EMPTY_ECHO);
        client.makeUnaryRequest(echo.path, asIs, asIs, request, metadata, (error, response) =>
          error ? failed(error) : done(response),
        );
      });
    await eventually(() =>
      expect(server.broker.registry.getNodeList({ onlyAvailable: true }).map(({ id }) => id)).toContain(
        "caller",
      ),
    );
    await expect(call("my-script")).resolves.toBeInstanceOf(Buffer);
    await expect(call("caller")).rejects.toMatchObject({ code: Status.UNAUTHENTICATED });
    client.close();
  });
});

describe("a node that calls another", () => {
  it.each<[string, Files, string]>([
    [
      "another authority's certificate",
      files.foreignServer,
      "certificate signature failure|self-signed|unable",
    ],
    ["an expired certificate", files.expiredServer, "expired"],
    ["the certificate of another node", files.caller, "not for server"],
  ])("sends nothing to a server with %s, and reports why", async (_, presented, reason) => {
    const requests: string[] = [];
    const fake = new Server();
    fake.addService(
      { Connect: rawStream(NAMES.peerStream) },
      {
        Connect: (stream: { emit(name: string, value: object): void }) => {
          requests.push("opened");
          stream.emit("error", { code: Status.UNIMPLEMENTED });
        },
      },
    );
    const pair = { private_key: readFileSync(presented.key), cert_chain: readFileSync(presented.cert) };
    const port = await new Promise<number>((done, failed) =>
      fake.bindAsync("127.0.0.1:0", ServerCredentials.createSsl(null, [pair]), (error, actual) =>
        error ? failed(error) : done(actual),
      ),
    );
    const reports: string[] = [];
    const streams: PeerStreams = peerStreams({
      ...{ secret: SECRET, node: "caller", names: NAMES, now: Date.now },
      tls: tlsIdentity(files.caller),
      report: (line) => reports.push(line),
    });
    const call = {
      path: echo.path,
      metadata: {},
      request: echo.request.encode(EMPTY_ECHO),
      timeoutMs: 5_000,
    };
    const results = [];
    for (let n = 0; n < 2; n++) {
      results.push(await streams.call("server", `127.0.0.1:${port}`, call).catch(({ code }) => code));
    }
    streams.close();
    fake.forceShutdown();
    expect(results).toEqual([Status.UNAVAILABLE, Status.UNAVAILABLE]);
    expect(reports.join("\n")).toMatch(new RegExp(reason));
    expect(requests).toEqual([]);
  });

  it("connects again after a renewal, and completes the running calls on the former connection", async () => {
    const between = await proxy(server.address);
    const streams = peerStreams({
      ...{ secret: SECRET, node: "caller", names: NAMES, now: Date.now },
      ...{ tls: tlsIdentity(files.caller), report: () => {} },
    });
    const call = (action: string, params: object) => {
      const { path, request } = catalogue.methodOf(`probe.${action}`) as Method;
      const asked = { path, metadata: {}, request: request.encode(params), timeoutMs: 5_000 };
      return streams.call("server", between.address, asked);
    };
    try {
      const running = call("wait", { key: "renewal" });
      await eventually(() => expect(server.state.started).toContain("renewal"));
      await call("echo", EMPTY_ECHO);
      expect(between.connections()).toBe(1);
      streams.reconnect();
      await call("echo", EMPTY_ECHO);
      expect(between.connections()).toBe(2);
      server.state.waiting.get("renewal")?.();
      await expect(running).resolves.toBeInstanceOf(Buffer);
    } finally {
      streams.close();
      await between.close();
    }
  });
});

describe("a renewed certificate", () => {
  const apart = cluster();
  afterAll(() => apart.stopAll());

  it("is used by both sides without a restart, and no call fails", async () => {
    const own = { one: certificates.write("one", ours), two: certificates.write("two", ours) };
    const one = await apart.server({ nodeID: "one", bridge: { tls: { ...own.one, reloadMs: 20 } } });
    const two = await apart.start({ nodeID: "two", bridge: { tls: { ...own.two, reloadMs: 20 } } });
    await two.broker.waitForServices("probe");
    const call = () => two.broker.call("probe.echo", EMPTY_ECHO);
    await call();
    const former = await certificateOf(one.address);
    certificates.write("one", ours);
    certificates.write("two", ours);
    await eventually(async () => {
      await call();
      expect(await certificateOf(one.address)).not.toBe(former);
    });
    await Promise.all(Array.from({ length: 20 }, call));
  });

  it("that is unusable leaves the former one in place", async () => {
    const own = certificates.write("stays", ours);
    const changes: string[] = [];
    const identity = tlsIdentity({ ...own, reloadMs: 20 });
    const reasons: string[] = [];
    const stop = identity.watch(
      () => changes.push("changed"),
      (reason) => reasons.push(reason),
    );
    writeFileSync(own.cert, "half of a file");
    await eventually(() => expect(reasons).toContain("tls.cert is not in PEM format"));
    expect(changes).toEqual([]);
    expect(identity.channelCredentials()._isSecure()).toBe(true);
    stop();
  });
});

describe("unusable files", () => {
  const valid = files.server;
  const empty = `${certificates.folder}/empty.pem`;
  writeFileSync(empty, "no certificate");

  it.each<[string, Files, string]>([
    ["that are not there", { ...valid, cert: "/nowhere/tls.crt" }, "tls.cert cannot be read: ENOENT"],
    ["with another text", { ...valid, ca: empty }, "tls.ca is not in PEM format"],
    ["with the key of another certificate", { ...valid, key: files.caller.key }, "tls.key does not match"],
    ["with an expired certificate", files.expiredServer, "tls.cert has expired"],
  ])("%s, are refused when the bridge is made", (_, tls, message) => {
    expect(() => probeBridge({ tls })).toThrow(TlsFileError);
    expect(() => probeBridge({ tls })).toThrow(message);
  });

  it("with a certificate for another node, are refused at the start", async () => {
    const start = nodes.start({ nodeID: "third", bridge: { tls: files.caller } });
    await expect(start).rejects.toThrow("tls.cert has no DNS name third");
  });

  it("named by the settings, are a wrong configuration that names the setting and not its value", () => {
    const env = { GRPC_TLS_CERT: valid.cert, GRPC_TLS_KEY: "/nowhere/tls.key", GRPC_TLS_CA: valid.ca };
    const settings = { ...readSettings(env), BRIDGE_SECRET: SECRET } as Settings;
    expect(() => nodeBridge(settings, sharedServer())).toThrow("GRPC_TLS_KEY cannot be read: ENOENT");
  });
});

describe("the readiness of a process", () => {
  const now = Date.now();
  const day = 86_400_000;
  const expiring = (days: number) =>
    certificates.write("orders", ours, {
      validity: { fromMs: now - day, untilMs: now + days * day },
      as: `${days}`,
    });

  it("is degraded thirty days before its certificate expires, and when it is unreadable", () => {
    expect(certificateWarning(undefined)).toBeUndefined();
    expect(certificateWarning(expiring(31).cert, now)).toBeUndefined();
    expect(certificateWarning(expiring(29.5).cert, now)).toBe("GRPC_TLS_CERT expires in 29 days");
    expect(certificateWarning("/nowhere/tls.crt")).toBe("GRPC_TLS_CERT cannot be read");
  });
});

function rawStream(path: string) {
  const asIs = (bytes: Buffer) => bytes;
  return {
    ...{ path, requestStream: true, responseStream: true, requestSerialize: asIs, requestDeserialize: asIs },
    ...{ responseSerialize: asIs, responseDeserialize: asIs },
  };
}

/** The serial number of the certificate that a server shows now. */
function certificateOf(address: string): Promise<string> {
  const [host = "", port = ""] = address.split(":");
  return new Promise((done, failed) => {
    const socket = connect(
      { host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ["h2"] },
      () => {
        done(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      },
    );
    socket.on("error", failed);
  });
}
