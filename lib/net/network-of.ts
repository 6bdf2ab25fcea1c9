import { isIP } from "node:net";

const GROUPS = 8;
/** The number of groups of an IPv6 address that identify the network. */
const NETWORK_GROUPS = 4;

/**
 * The key of a rate limit for an address. With IPv6 a household has 2^64 addresses, so the key is the /64 network.
 */
export function networkOf(ip: string): string {
  if (isIP(ip) !== 6) return ip;
  const [head = [], tail] = ip
    .split("::")
    .map((part) => part.split(":").flatMap((group) => (group.includes(".") ? ["0", "0"] : group || [])));
  const zeros = tail ? Array.from({ length: GROUPS - head.length - tail.length }, () => "0") : [];
  const network = [...head, ...zeros, ...(tail ?? [])].slice(0, NETWORK_GROUPS);
  return `${network.map((group) => Number.parseInt(group, 16).toString(16)).join(":")}::/64`;
}
