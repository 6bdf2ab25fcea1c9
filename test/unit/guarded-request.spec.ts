import { Resolver } from "node:dns/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, jest } from "@jest/globals";
import fc from "fast-check";
import {
  type GuardOptions,
  guardedExchange,
  guardedPost,
  resolveByDns,
  urlTrouble,
} from "../../lib/net/guarded-request.ts";
import { isLoopbackAddress, isPublicAddress } from "../../lib/net/public-address.ts";
import { eventually } from "../support/eventually.ts";
import { startHostile } from "../support/hostile-server.ts";
import { type NameAnswer, startNameServer } from "../support/name-server.ts";

const strict: GuardOptions = { allowLoopback: false };
const sandbox: GuardOptions = { allowLoopback: true };

describe("a public address", () => {
  it.each([
    ["0.0.0.0", "this host"],
    ["10.1.2.3", "private"],
    ["100.64.0.1", "carrier-grade NAT"],
    ["100.127.255.254", "carrier-grade NAT"],
    ["127.0.0.1", "loopback"],
    ["127.255.255.254", "loopback"],
    ["169.254.169.254", "link-local, cloud metadata"],
    ["172.16.0.1", "private"],
    ["172.31.255.255", "private"],
    ["192.0.0.8", "protocol assignments"],
    ["192.0.2.1", "documentation"],
    ["192.88.99.1", "6to4 relay"],
    ["192.168.1.1", "private"],
    ["198.18.0.1", "benchmarking"],
    ["198.51.100.7", "documentation"],
    ["203.0.113.7", "documentation"],
    ["224.0.0.1", "multicast"],
    ["255.255.255.255", "broadcast"],
    ["::", "unspecified"],
    ["::1", "loopback"],
    ["::ffff:127.0.0.1", "mapped loopback"],
    ["::ffff:8.8.8.8", "mapped"],
    ["::ffff:a00:1", "mapped private"],
    ["::127.0.0.1", "compatible"],
    ["64:ff9b::7f00:1", "NAT64"],
    ["64:ff9b:1::1", "local NAT64"],
    ["100::1", "discard"],
    ["2001::1", "Teredo"],
    ["2001:db8::1", "documentation"],
    ["2002:7f00:1::", "6to4 of loopback"],
    ["3fff::1", "documentation"],
    ["fc00::1", "unique local"],
    ["fd00:ec2::254", "cloud metadata"],
    ["fe80::1", "link-local"],
    ["fe80::1%eth0", "link-local with a zone"],
    ["fec0::1", "site-local"],
    ["ff02::1", "multicast"],
    ["localhost", "no address"],
    ["2130706433", "no address"],
    ["0x7f.1", "no address"],
    ["", "no address"],
    ["0.255.255.255", "the last of this host's"],
    ["10.255.255.255", "the last private one"],
    ["169.254.255.255", "the last link-local one"],
    ["192.0.0.255", "the last of the protocol assignments"],
    ["192.0.2.255", "the last of the documentation"],
    ["192.88.99.255", "the last 6to4 relay"],
    ["192.168.255.255", "the last private one"],
    ["198.19.255.255", "the last of benchmarking"],
    ["198.51.100.255", "the last of the documentation"],
    ["203.0.113.255", "the last of the documentation"],
    ["239.255.255.255", "the last of multicast"],
    ["2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "the last of the protocol assignments"],
    ["2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "the last of the documentation"],
    ["2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "the last 6to4 one"],
    ["3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "the last of the documentation"],
    ["4000::", "the first beyond what is assigned"],
  ])("is not %s (%s)", (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  it.each(["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "193.0.0.1"])(
    "is %s",
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );

  it.each(["2606:4700::1111", "2a00:1450:4001::200e", "2400:cb00::1", "2001:200::", "2003::", "3ffe::1"])(
    "is %s",
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );

  it("of any spelling, is never also a loopback address", () => {
    const any = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string());
    fc.assert(fc.property(any, (address) => !(isPublicAddress(address) && isLoopbackAddress(address))));
  });
});

describe("an address of this machine", () => {
  it.each(["127.0.0.1", "127.127.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"])("is %s", (address) => {
    expect(isLoopbackAddress(address)).toBe(true);
  });

  it.each(["126.255.255.255", "128.0.0.0", "10.0.0.1", "::", "::2", "2606:4700::1111", "localhost", ""])(
    "is not %s",
    (address) => {
      expect(isLoopbackAddress(address)).toBe(false);
    },
  );
});

describe("the addresses of a name", () => {
  const shop = "shop.example";
  /** @param timeoutMs short only where silence is the answer */
  const asking = async (answerOf: (name: string, kind: string) => NameAnswer, timeoutMs = 20_000) => {
    const server = await startNameServer(answerOf);
    const resolver = new Resolver({ timeout: timeoutMs, tries: 1 });
    resolver.setServers([server.url]);
    const found = await resolveByDns(shop, resolver).catch((error: Error) => error);
    await server.stop();
    return { found, asked: server.asked };
  };

  it("are those of both families, in one answer", async () => {
    const { found, asked } = await asking((_, kind) =>
      kind === "A" ? ["93.184.215.14", "93.184.215.15"] : ["2606:4700:0:0:0:0:0:1111"],
    );
    expect(found).toEqual(["93.184.215.14", "93.184.215.15", "2606:4700::1111"]);
    expect(asked.sort()).toEqual([`A ${shop}`, `AAAA ${shop}`]);
  });

  it("are one, if only one family has it", async () => {
    const { found } = await asking((_, kind) => (kind === "A" ? ["93.184.215.14"] : "no such name"));
    expect(found).toEqual(["93.184.215.14"]);
  });

  it("unknown to the DNS, are none, in any state of the root", async () => {
    const { found } = await asking((name) => (name === shop ? "no such name" : "silence"));
    expect(found).toMatchObject({ kind: "network", message: `${shop} has no address` });
  });

  it("with silent name servers, are none, while the root answers", async () => {
    const roots = [[], "refused"] as const;
    const all = roots.map((root) => asking((name) => (name === shop ? "silence" : root), 1_500));
    for (const { found, asked } of await Promise.all(all)) {
      expect(found).toMatchObject({ kind: "network" });
      expect(asked).toContain("NS ");
    }
  });

  it("without a name server are unavailable: the fault is on this machine", async () => {
    const { found } = await asking(() => "silence", 300);
    expect(found).toMatchObject({ kind: "local", message: expect.stringContaining("ETIMEOUT") });
    const server = await startNameServer(() => "silence");
    const resolver = new Resolver({ timeout: 300, tries: 1 });
    resolver.setServers([server.url]);
    await server.stop();
    await expect(resolveByDns(shop, resolver)).rejects.toMatchObject({ kind: "local" });
  });
});

describe("a URL from a third party", () => {
  it.each([
    "https://shop.example/hooks",
    "https://shop.example:443/hooks",
    "https://shop.example:8443/hooks?x=1",
    "https://8.8.8.8/",
    "https://[2606:4700::1111]/",
    "https://xn--bcher-kva.example/",
  ])("%s is accepted", (url) => {
    expect(urlTrouble(url, strict)).toBeUndefined();
  });

  it.each([
    ["http://shop.example/", "https"],
    ["ftp://shop.example/", "https"],
    ["file:///etc/passwd", "https"],
    ["gopher://127.0.0.1:6379/_FLUSHALL", "https"],
    ["https://shop.example:22/", "port"],
    ["https://shop.example:80/", "port"],
    ["https://shop.example:8080/", "port"],
    ["https://user:secret@shop.example/", "user name"],
    ["https://user@shop.example/", "user name"],
    ["https://:secret@shop.example/", "user name"],
    ["https://localhost/", "internet"],
    ["https://partners/", "internet"],
    ["https://127.0.0.1/", "internet"],
    ["https://127.1/", "internet"],
    ["https://2130706433/", "internet"],
    ["https://0x7f000001/", "internet"],
    ["https://0177.0.0.1/", "internet"],
    ["https://%31%32%37.0.0.1/", "internet"],
    ["https://１２７.0.0.1/", "internet"],
    ["https://0/", "internet"],
    ["https://00000000177.0.0.1/", "internet"],
    ["https://0x7f.0x0.0x0.0x1/", "internet"],
    ["https://017700000001/", "internet"],
    ["https://127.0.0.1./", "internet"],
    ["https://localhost./", "internet"],
    ["https://foo.localhost/", "internet"],
    ["https://partners./", "internet"],
    ["https://partners.default.svc.cluster.local/", "internet"],
    ["https://metadata.google.internal./", "internet"],
    ["https://①②⑦.0.0.1/", "internet"],
    ["https://127。0。0。1/", "internet"],
    ["https://ⓛocalhost/", "internet"],
    ["https://169.254.169.254.nip.io%00.example/", "not a URL"],
    ["https://shop.example@127.0.0.1/", "user name"],
    ["https://127.0.0.1\\@shop.example/", "internet"],
    ["https://[fe80::1%25eth0]/", "not a URL"],
    ["https://[::ffff:169.254.169.254]/", "internet"],
    ["https://[0:0:0:0:0:ffff:7f00:1]/", "internet"],
    ["https://[2002:7f00:1::]/", "internet"],
    ["https://[::127.0.0.1]/", "internet"],
    ["https://2852039166/", "internet"],
    ["javascript:alert(1)", "https"],
    ["data:text/html,x", "https"],
    ["https://10.0.0.8/", "internet"],
    ["https://169.254.169.254/latest/meta-data", "internet"],
    ["https://100.64.1.1/", "internet"],
    ["https://[::1]/", "internet"],
    ["https://[::]/", "internet"],
    ["https://[::ffff:127.0.0.1]/", "internet"],
    ["https://[::ffff:7f00:1]/", "internet"],
    ["https://[0:0:0:0:0:ffff:10.0.0.1]/", "internet"],
    ["https://[fe80::1]/", "internet"],
    ["https://[fd12:3456::1]/", "internet"],
    ["https://[64:ff9b::a00:1]/", "internet"],
    ["https://", "not a URL"],
    ["shop.example", "not a URL"],
  ])("%s is refused", (url, reason) => {
    expect(urlTrouble(url, strict)).toContain(reason);
  });

  it.each([
    "http://127.0.0.1:3003/orders",
    "http://localhost:3003/",
    "http://[::1]:3003/",
    "https://127.0.0.2:9/",
  ])("%s is accepted with the sandbox switch alone", (url) => {
    expect(urlTrouble(url, sandbox)).toBeUndefined();
    expect(urlTrouble(url, strict)).toBeDefined();
  });

  it.each(["http://shop.example/", "https://10.0.0.8/", "https://shop.example:22/", "ftp://127.0.0.1/"])(
    "%s is refused also with the sandbox switch",
    (url) => {
      expect(urlTrouble(url, sandbox)).toBeDefined();
    },
  );
});

describe("a guarded request", () => {
  let server: Server;
  let port: number;
  const seen: string[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      seen.push(`${request.method} ${request.url}`);
      if (request.url === "/moved") response.writeHead(307, { location: "/inside" }).end();
      else if (request.url === "/drip") response.writeHead(200).write("drop");
      else if (request.url === "/parts") {
        response.writeHead(200).write(Buffer.alloc(1_023, "x"));
        void delay(50).then(() => response.end("yz"));
      } else if (request.url === "/flood") response.writeHead(200).end(Buffer.alloc(1_000_000, "x"));
      else if (request.url !== "/hang") response.end("ok");
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    port = (server.address() as AddressInfo).port;
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  const post = (url: string, options: GuardOptions, timeoutMs = 2_000) =>
    guardedPost({ url, headers: {}, body: "{}", timeoutMs, maxBodyBytes: 1_024 }, options);
  /** A name server that answers otherwise each time it is asked. */
  const answering = (...answers: string[][]) => jest.fn(async () => answers.shift() ?? []);

  it.each([
    ["a private address", ["10.0.0.8"]],
    ["loopback", ["127.0.0.1"]],
    ["a good and a bad address", ["93.184.215.14", "::ffff:127.0.0.1"]],
    ["cloud metadata by IPv6", ["fd00:ec2::254"]],
    ["NAT64 of a private address", ["64:ff9b::a00:8"]],
    ["a link with a zone", ["fe80::1%eth0"]],
    ["6to4 of loopback", ["2002:7f00:1::"]],
    ["what is no address", ["0x7f000001"]],
  ])("to a name that resolves to %s, never connects", async (_, addresses) => {
    const guarded = post("https://shop.example/", { ...strict, resolve: async () => addresses });
    await expect(guarded).rejects.toMatchObject({ kind: "blocked" });
  });

  it("to a name that resolves differently at the connection, is checked by the address of the connection", async () => {
    const resolve = answering(["127.0.0.1"], ["10.0.0.8"]);
    const answer = await post(`http://localhost:${port}/rebound`, { ...sandbox, resolve });
    expect(answer).toMatchObject({ status: 200 });
    expect(seen).toContain("POST /rebound");
    expect(resolve).toHaveBeenCalledTimes(1);
  });

  it("to a name with a bad address at first and a good one later, is not resolved again", async () => {
    const resolve = answering(["127.0.0.1"], ["93.184.215.14"]);
    await expect(post("https://rebind.example/", { ...strict, resolve })).rejects.toMatchObject({
      kind: "blocked",
    });
    expect(resolve).toHaveBeenCalledTimes(1);
  });

  it("to a name without an address, fails", async () => {
    const guarded = post("https://shop.example/", { ...strict, resolve: async () => [] });
    await expect(guarded).rejects.toMatchObject({ kind: "blocked" });
  });

  it.each([
    ["127.0.0.1", "as it is"],
    ["2130706433", "in decimal"],
    ["0x7f000001", "in hexadecimal"],
    ["0177.0.0.1", "in octal"],
    ["127.1", "shortened"],
    ["[::ffff:127.0.0.1]", "mapped into IPv6"],
    ["[::ffff:7f00:1]", "mapped and in hexadecimal"],
    ["[0:0:0:0:0:ffff:7f00:1]", "mapped and at full length"],
    ["[::127.0.0.1]", "compatible"],
    ["[::1]", "of IPv6"],
    ["127.0.0.1.", "with the dot of the root"],
  ])("with an unchecked URL, never connects to %s (%s)", async (host) => {
    const before = seen.length;
    const call = { url: `http://${host}:${port}/unseen`, headers: {}, body: "{}", timeoutMs: 2_000 };
    const asked = guardedExchange({ ...call, maxBodyBytes: 1 }, strict, new AbortController().signal);
    await expect(asked).rejects.toMatchObject({ kind: "blocked" });
    expect(seen).toHaveLength(before);
  });

  it("to an address of the internet by its number, is not refused", async () => {
    const call = { url: "https://8.8.8.8/", headers: {}, body: "{}", timeoutMs: 2_000, maxBodyBytes: 1 };
    // Broken off before it begins, so that nothing is connected to.
    const asked = guardedExchange(call, strict, AbortSignal.abort());
    await expect(asked).rejects.toMatchObject({ name: "AbortError" });
  });

  it("with an unchecked URL, connects to this machine with the sandbox switch alone", async () => {
    const call = { url: `http://127.0.0.1:${port}/seen`, headers: {}, body: "{}", timeoutMs: 2_000 };
    const asked = guardedExchange({ ...call, maxBodyBytes: 1 }, sandbox, new AbortController().signal);
    expect(await asked).toMatchObject({ status: 200 });
  });

  it("answered by a redirect, returns it and does not follow", async () => {
    const answer = await post(`http://127.0.0.1:${port}/moved`, sandbox);
    expect(answer).toMatchObject({ status: 307, headers: { location: "/inside" } });
    expect(seen).not.toContain("POST /inside");
  });

  it("answered by more than the limit, reads only the limit", async () => {
    const { body } = await post(`http://127.0.0.1:${port}/flood`, sandbox);
    expect(body.length).toBe(1_024);
  });

  it("answered by a head without a body, returns the answer", async () => {
    const { status, body } = await post(`http://127.0.0.1:${port}/drip`, sandbox, 300);
    expect({ status, body: body.toString() }).toEqual({ status: 200, body: "drop" });
  });

  it("answered in two parts, waits for both, and reads at most the limit", async () => {
    const { body } = await post(`http://127.0.0.1:${port}/parts`, sandbox, 30_000);
    expect(body.toString()).toBe(`${"x".repeat(1_023)}y`);
  });

  it("answered by a head without a body, waits at most a second for the body", async () => {
    expect(await post(`http://127.0.0.1:${port}/drip`, sandbox, 3_600_000)).toMatchObject({ status: 200 });
  });

  it("answered in full, ends at once", async () => {
    const startedMs = performance.now();
    for (let count = 0; count < 30; count++) {
      const { body } = await post(`http://localhost:${port}/`, sandbox, 30_000);
      expect(body.toString()).toBe("ok");
    }
    // Each wait for more would take a second.
    expect(performance.now() - startedMs).toBeLessThan(25_000);
  });

  it("answered by a change of protocol, returns its status and holds no connection", async () => {
    const upgrade = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\n";
    const { servers, open, stop } = await startHostile({
      changes: (socket) => socket.once("data", () => socket.write(upgrade)),
      closes: (socket) => socket.once("data", () => socket.end()),
    });
    const to = (name: string) => `http://127.0.0.1:${servers.find((one) => one.name === name)?.port}/`;
    expect(await post(to("changes"), sandbox, 30_000)).toMatchObject({
      ...{ status: 101, body: Buffer.alloc(0) },
      headers: { upgrade: "tcp" },
    });
    await expect(post(to("closes"), sandbox, 30_000)).rejects.toMatchObject({ kind: "network" });
    await eventually(() => expect(open()).toEqual({}));
    await stop();
  });

  it("to a refused URL, asks no name server", async () => {
    const resolve = answering(["93.184.215.14"]);
    for (const url of ["https://shop.example:22/", "http://shop.example/", "https://partners/"]) {
      await expect(post(url, { ...strict, resolve })).rejects.toMatchObject({ kind: "blocked" });
    }
    expect(resolve).not.toHaveBeenCalled();
  });

  it("to a name whose lookup fails, fails as the lookup did", async () => {
    const lost = Object.assign(new Error("no server"), { code: "ENETUNREACH" });
    const guarded = post("https://shop.example/", { ...strict, resolve: () => Promise.reject(lost) });
    await expect(guarded).rejects.toMatchObject({ kind: "local", message: "ENETUNREACH" });
  });

  it("aborted by its caller, ends as a timeout", async () => {
    const call = { url: `http://127.0.0.1:${port}/hang`, headers: {}, body: "{}", timeoutMs: 60_000 };
    const asked = guardedPost({ ...call, maxBodyBytes: 1, signal: AbortSignal.abort() }, sandbox);
    await expect(asked).rejects.toMatchObject({ kind: "timeout" });
  });

  it("never answered, ends at its timeout", async () => {
    await expect(post(`http://127.0.0.1:${port}/hang`, sandbox, 200)).rejects.toMatchObject({
      kind: "timeout",
    });
  });

  it("to a port without a listener, fails with the network's error", async () => {
    await expect(post("http://127.0.0.1:1/", sandbox)).rejects.toMatchObject({
      kind: "network",
      message: "ECONNREFUSED",
    });
  });
});
