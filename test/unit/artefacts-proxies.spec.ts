import type { IncomingMessage } from "node:http";
import { describe, expect, it } from "@jest/globals";
import { parse } from "yaml";
import { clientIpOf } from "../../services/api/edge/request-head.ts";
import { text, variablesOf } from "../support/manifests.ts";

interface Network {
  aliases?: string[];
}
interface Compose {
  services: Record<
    string,
    { environment?: Record<string, string>; networks?: string[] | Record<string, Network | null> }
  >;
  networks: Record<string, { ipam?: { config: { subnet: string }[] } }>;
}

const compose = parse(text("docker-compose.yml"), { merge: true }) as Compose;
const listOf = (value = "") => value.split(",").map((entry) => entry.trim());

/** The value after Compose has interpolated it with these lines in .env. */
const interpolated = (value: string, env: Record<string, string> = {}) =>
  value.replace(/\$\{([A-Z_]+):-([^}]*)\}/g, (_, name: string, otherwise: string) => env[name] || otherwise);

function composeTrusts(env: Record<string, string> = {}): string[] {
  return listOf(interpolated(compose.services.gateway?.environment?.TRUSTED_PROXIES ?? "", env));
}
const edgeOf = (env: Record<string, string> = {}) =>
  interpolated(compose.networks.edge?.ipam?.config[0]?.subnet ?? "", env);
const overlayTrusts = (overlay: string) =>
  listOf(variablesOf(`k8s/overlays/${overlay}/waybill.env`).TRUSTED_PROXIES);

function clientIp(trusted: readonly string[], peer: string, forwarded: string): string {
  const req = { socket: { remoteAddress: peer }, headers: { "x-forwarded-for": forwarded } };
  return clientIpOf(trusted)(req as unknown as IncomingMessage);
}

const places: [string, () => string[], leastBits: number][] = [
  ["docker-compose.yml", () => composeTrusts(), 28],
  ["k8s/overlays/dev", () => overlayTrusts("dev"), 16],
  ["k8s/overlays/production", () => overlayTrusts("production"), 24],
];

describe.each(places)("the proxies that the gateway of %s trusts", (_place, trusts, leastBits) => {
  it("do not include clients in a private network", () => {
    const clients = [
      "10.0.0.9",
      "10.8.0.2",
      "172.16.5.5",
      "172.31.0.5",
      "192.168.1.5",
      "100.64.0.3",
      "fd00::5",
    ];
    expect(clients.map((peer) => clientIp(trusts(), peer, "203.0.113.9"))).toEqual(clients);
  });

  it("are a short list of narrow networks", () => {
    expect(trusts().length).toBeGreaterThan(0);
    for (const entry of trusts()) {
      const [network, bits = "32"] = entry.split("/");
      expect(network).toMatch(/^\d+(\.\d+){3}$/);
      expect(Number(bits)).toBeGreaterThanOrEqual(leastBits);
    }
  });
});

describe("docker-compose.yml", () => {
  it("trusts its proxy, and before it those named in .env", () => {
    const other = { EDGE_SUBNET: "10.9.9.0/28" };
    const [edge, elsewhere] = [edgeOf(), edgeOf(other)].map((subnet) => subnet.replace(/\.0\/28$/, ".3"));
    expect(elsewhere).toBe("10.9.9.3");
    expect(clientIp(composeTrusts(), edge as string, "203.0.113.9")).toBe("203.0.113.9");
    expect(clientIp(composeTrusts(other), "10.9.9.3", "203.0.113.9")).toBe("203.0.113.9");
    const named = { TRUSTED_PROXIES: "198.51.100.7" };
    expect(clientIp(composeTrusts(named), edge as string, "203.0.113.9, 198.51.100.7")).toBe("203.0.113.9");
    expect(clientIp(composeTrusts(), edge as string, "203.0.113.9, 198.51.100.7")).toBe("198.51.100.7");
  });

  it("has the proxy in one network with the gateways only", () => {
    const networks = compose.services.gateway?.networks as Record<string, Network>;
    const [, name = ""] =
      /server-template gateway- \d+ (\w+):3000/.exec(text("deploy/proxy/haproxy.cfg")) ?? [];
    expect(Object.keys(compose.services)).not.toContain(name);
    const known = Object.keys(networks).filter((each) => networks[each]?.aliases?.includes(name));
    expect(known).toEqual(["edge"]);
    expect(compose.services.proxy?.networks).toContain("edge");
  });
});

describe("k8s", () => {
  it("leaves it to each overlay, because each cluster has other addresses", () => {
    expect(variablesOf("k8s/base/waybill.env")).not.toHaveProperty("TRUSTED_PROXIES");
    // A range for documentation (RFC 5737): until it is replaced, no proxy is trusted.
    expect(overlayTrusts("production")).toEqual(["192.0.2.0/24"]);
    expect(text("docs/deploying.md")).toMatch(/192\.0\.2\.0\/24/);
  });
});
