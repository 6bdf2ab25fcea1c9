/**
 * Tests play partners' systems at 127.0.0.1 of this machine, which is the one address besides the internet's that the
 * platform calls while it is configured to trust it. In a container that address is the container's own; these rules make
 * its upper ports this machine's.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Above the ports that the containers themselves listen on. */
export const LEAST_PORT = 10_000;
const PORTS = `${LEAST_PORT}:65535`;

const run = promisify(execFile);

export interface Place {
  /** Of the container's first process. */
  pid: number;
  /** The bridge that joins it to this machine, and this machine's address there. */
  bridge: string;
  gateway: string;
}

/** @returns what takes the rules of this machine away again; those of the container go with it */
export async function shareLoopback({ pid, bridge, gateway }: Place): Promise<() => Promise<void>> {
  const inside = (...words: string[]) => run("nsenter", ["--target", String(pid), "--net", ...words]);
  await inside("sysctl", "--quiet", "--write", "net.ipv4.conf.all.route_localnet=1");
  const there = ["--protocol", "tcp", "--destination", "127.0.0.1", "--dport", PORTS];
  await inside("iptables", "-t", "nat", "-A", "OUTPUT", ...there, "-j", "DNAT", "--to-destination", gateway);
  await inside("iptables", "-t", "nat", "-A", "POSTROUTING", "--destination", gateway, "-j", "MASQUERADE");

  await run("sysctl", ["--quiet", "--write", `net.ipv4.conf.${bridge}.route_localnet=1`]);
  const rule = (change: "-A" | "-D") => [
    ...["-t", "nat", change, "PREROUTING", "--in-interface", bridge, "--protocol", "tcp"],
    ...["--destination", gateway, "--dport", PORTS, "-j", "DNAT", "--to-destination", "127.0.0.1"],
  ];
  await run("iptables", rule("-A"));
  return async () => {
    await run("iptables", rule("-D"));
  };
}
