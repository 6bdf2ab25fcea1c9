import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";

/**
 * Protects a listener without authentication against pages of other sites in a browser that can reach it. A page cannot
 * set the headers that are checked here.
 *
 * - `Host` must be an IP address, `localhost` or an allowed name. With DNS rebinding it is the name of the attacker.
 *   Probes use an IP address, or HTTP/1.0 without the header.
 * - `Origin`, if the browser sends it, must be the same host. For a form or script of another site it is that site.
 *
 * @param allowed names of reverse proxies, as ALLOWED_HOSTS: comma-separated
 * @returns the name of the wrong header; undefined when both are correct
 */
export function foreignHeader(headers: IncomingHttpHeaders, allowed = ""): "Host" | "Origin" | undefined {
  const { host, origin } = headers;
  if (host !== undefined && !isAllowedHost(host, allowed)) return "Host";
  if (origin !== undefined && hostOf(origin) !== host?.toLowerCase()) return "Origin";
  return undefined;
}

function isAllowedHost(host: string, allowed: string): boolean {
  const name = host.replace(/:\d{1,5}$/, "").toLowerCase();
  if (isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0 || name === "localhost") return true;
  return allowed.split(",").some((each) => each.trim().toLowerCase() === name);
}

/** Host and port as a browser writes them into `Host`: without the default port. */
function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
