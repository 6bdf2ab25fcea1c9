import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";

const MAX_HOPS = 10;

/**
 * The address of the client. This is the address of the socket, unless that belongs to a trusted proxy. Then it is the
 * last address in X-Forwarded-For that belongs to no trusted proxy: the client can forge all earlier ones.
 * @param trusted addresses and networks (CIDR) of the proxies in front of the gateway
 */
export function clientIpOf(trusted: readonly string[]): (req: IncomingMessage) => string {
  const proxies = new BlockList();
  for (const entry of trusted) {
    const [network = "", bits] = entry.split("/");
    const family = isIP(network) === 6 ? "ipv6" : "ipv4";
    if (bits === undefined) proxies.addAddress(network, family);
    else proxies.addSubnet(network, Number(bits), family);
  }
  const isProxy = (ip: string) => proxies.check(ip, isIP(ip) === 6 ? "ipv6" : "ipv4");
  return (req) => {
    const peer = unmapIpv4(req.socket.remoteAddress ?? "");
    if (trusted.length === 0 || !isProxy(peer)) return peer;
    const hops = String(req.headers["x-forwarded-for"] ?? "")
      .split(",")
      .slice(-MAX_HOPS)
      .map((hop) => unmapIpv4(hop.trim()));
    for (const hop of hops.reverse()) {
      if (isIP(hop) === 0) return peer;
      if (!isProxy(hop)) return hop;
    }
    return peer;
  };
}

/** A dual-stack socket reports the IPv4 address 10.0.0.1 as `::ffff:10.0.0.1`. */
function unmapIpv4(ip: string): string {
  return ip.startsWith("::ffff:") && isIP(ip.slice(7)) === 4 ? ip.slice(7) : ip;
}
