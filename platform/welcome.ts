import { existsSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { serviceNames } from "../lib/settings/catalogue.ts";
import type { Places } from "./launch.ts";
import { secretsFile } from "./secrets.ts";

const LABEL_WIDTH = 12;
const ACT_WIDTH = 15;

/** The start message, for a terminal of 80 columns. */
export function welcome(places: Places, tookMs: number): string[] {
  const { apiUrl, sandboxUrl, mailboxUrl, opsUrl, grpcAddress, adminEmail, dataDir } = places;
  const line = (label: string, value: string) => `  ${label.padEnd(LABEL_WIDTH)}${value}`;
  const act = (what: string, does: string) => `  ${what.padEnd(ACT_WIDTH)}${does}`;
  const sandbox =
    sandboxUrl && mailboxUrl
      ? [
          line("Sandbox", `${sandboxUrl}/`),
          line("  checkout", "opens at the checkout_url of a confirmed order"),
          line("  mailbox", mailboxUrl),
        ]
      : [];
  const admin = adminEmail
    ? [line("Admin", adminEmail), line("  password", shown(secretsFile(dataDir)))]
    : [];
  const grpc = grpcAddress ? [line("gRPC", grpcAddress)] : [];
  if (!serviceNames.every((service) => places.services.includes(service))) {
    return [
      "",
      `${places.services.join(", ")}: ready after ${(tookMs / 1000).toFixed(1)} s, as part of the cluster.`,
      ...grpc,
      line("Operations", `${opsUrl}/readyz and /metrics`),
      ...sandbox,
      "",
    ];
  }
  return [
    "",
    `Waybill is ready after ${(tookMs / 1000).toFixed(1)} s.`,
    "",
    line("API", `${apiUrl}/api/v1`),
    line("API docs", `${apiUrl}/docs/`),
    ...grpc,
    ...sandbox,
    ...admin,
    line("Operations", `${opsUrl}/readyz and /metrics`),
    line("Data", shown(dataDir)),
    "",
    ...(sandboxUrl ? [act("npm run demo", "runs an order from sign-up to delivery")] : []),
    act("npm run repl", "opens the operator's console"),
    act("Ctrl-C", "stops everything"),
    "",
  ];
}

/** The error, in one line, when another process uses the data folder. */
export function inUse(dataDir: string | undefined): string {
  const folder = resolve(dataDir || "./data");
  const file = join(folder, "platform.json");
  const places = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Places) : undefined;
  const who = places ? `process ${places.pid}, ${places.apiUrl}` : "it is starting or stopping";
  return `A platform already runs on ${shown(folder)} (${who}): stop it, or start with another DATA_DIR and PORT.`;
}

/** The shorter of the absolute and the relative path. */
function shown(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere.length > 0 && fromHere.length < path.length ? fromHere : path;
}
