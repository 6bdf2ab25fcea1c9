/**
 * `npm run certificates` creates the certificates of the services for their gRPC calls.
 *   npm run certificates -- --authority FOLDER --to FOLDER NAME...
 * The authority is FOLDER/ca.crt and ca.key, created if missing. Each NAME gets FOLDER/NAME/tls.crt, tls.key and
 * ca.crt, for GRPC_TLS_CERT, GRPC_TLS_KEY and GRPC_TLS_CA; NAME,NAME is one certificate for a process with two nodes.
 * Run again, it renews them; services read the files again within a minute.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Certificate, issueCertificate, makeAuthority } from "../../lib/certificates.ts";
import { runCommand, UsageError } from "./command.ts";

const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3_650;
const CERTIFICATE_DAYS = 825;
/** Certificates are valid earlier by this time, for machines with a slow clock. */
const EARLIER_MS = 3_600_000;

runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { authority: { type: "string" }, to: { type: "string" } },
  });
  const { authority: authorityFolder, to } = values;
  const isName = (text: string) => /^[a-z0-9.-]{1,63}(,[a-z0-9.-]{1,63})*$/.test(text);
  if (!authorityFolder || !to || positionals.length === 0 || !positionals.every(isName)) {
    throw new UsageError("certificates --authority FOLDER --to FOLDER NAME...");
  }
  const authority = loadOrCreateAuthority(authorityFolder);
  for (const names of positionals) {
    const [first = "", ...others] = names.split(",");
    const { cert, key } = issueCertificate(authority, [first, ...others], validFor(CERTIFICATE_DAYS));
    const folder = join(to, first);
    mkdirSync(folder, { recursive: true });
    write(join(folder, "ca.crt"), authority.cert);
    write(join(folder, "tls.key"), key, 0o600);
    write(join(folder, "tls.crt"), cert);
    console.log(`${first}: ${CERTIFICATE_DAYS} days`);
  }
});

function loadOrCreateAuthority(folder: string): Certificate {
  const [certFile, keyFile] = [join(folder, "ca.crt"), join(folder, "ca.key")];
  if (!existsSync(certFile) || !existsSync(keyFile)) {
    mkdirSync(folder, { recursive: true });
    const { cert, key } = makeAuthority("Waybill gRPC", validFor(AUTHORITY_DAYS));
    write(keyFile, key, 0o600);
    write(certFile, cert);
  }
  return { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
}

function validFor(days: number) {
  const nowMs = Date.now();
  return { fromMs: nowMs - EARLIER_MS, untilMs: nowMs + days * DAY_MS };
}

/** Replaces the file atomically, because a service may read it at this moment. */
function write(file: string, text: string, mode = 0o644): void {
  writeFileSync(`${file}.half`, text, { mode });
  renameSync(`${file}.half`, file);
}
