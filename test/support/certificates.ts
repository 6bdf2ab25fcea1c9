import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TlsOptions } from "moleculer-grpc";
import { type Certificate, issueCertificate, makeAuthority } from "../../lib/certificates.ts";

const HOUR_MS = 3_600_000;
const now = Date.now();
const VALID = { fromMs: now - HOUR_MS, untilMs: now + HOUR_MS };
export const EXPIRED = { fromMs: now - 2 * HOUR_MS, untilMs: now - HOUR_MS };

export type Files = Pick<TlsOptions, "cert" | "key" | "ca">;

export function authority(): Certificate {
  return makeAuthority("Authority of tests", VALID);
}

/** A folder for the files of certificates. */
export function certificateFolder() {
  const folder = mkdtempSync(join(tmpdir(), "waybill-certificates-"));
  return {
    folder,
    /** Issues a certificate for a name and writes it with its key and an authority, also over the former ones. */
    write(name: string, issuer: Certificate, { validity = VALID, ca = issuer.cert, as = name } = {}): Files {
      const { cert, key } = issueCertificate(issuer, [name], validity);
      const files = {
        cert: join(folder, as, "tls.crt"),
        key: join(folder, as, "tls.key"),
        ca: join(folder, as, "ca.crt"),
      };
      mkdirSync(join(folder, as), { recursive: true });
      for (const [file, text] of [
        [files.ca, ca],
        [files.key, key],
        [files.cert, cert],
      ] as const) {
        writeFileSync(`${file}.half`, text);
        renameSync(`${file}.half`, file);
      }
      return files;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
