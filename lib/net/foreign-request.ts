import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";

/**
 * Protects a listener without authentication against pages of other sites in a browser that can reach it. A page cannot
 * set the headers that are checked here.
 *
 * - `Host` must be an IP address, `localhost` or a name that was allowed: with DNS rebinding it is the attacker's name.
 *   Probes ask by IP address, or without the header as HTTP/1.0 does.
 * - `Origin`, where the browser sends one, must be of the same host: it is another one for a form or script elsewhere.
 *
 * @param allowed names of reverse proxies, as ALLOWED_HOSTS: comma-separated
 * @returns the name of the header that is wrong
 */
export function foreignHeader(headers: IncomingHttpHeaders, allowed = ""): "Host" | "Origin" | undefined {
  const { host, origin } = headers;
  if (host !== undefined && !isOurs(host, allowed)) return "Host";
  if (origin !== undefined && hostOf(origin) !== host?.toLowerCase()) return "Origin";
  return undefined;
}

function isOurs(host: string, allowed: string): boolean {
  const name = host.replace(/:\d{1,5}$/, "").toLowerCase();
  if (isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0 || name === "localhost") return true;
  return allowed.split(",").some((each) => each.trim().toLowerCase() === name);
}

/** Host and port as a browser writes them into `Host`: without the default port. */
function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
