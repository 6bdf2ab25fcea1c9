import { execFileSync, spawnSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "@jest/globals";
import { issueCertificate, makeAuthority } from "../../lib/certificates.ts";

const DAY_MS = 86_400_000;
const ROOT = resolve(import.meta.dirname, "../..");
const from = Date.parse("2026-11-30T10:20:30Z");

describe("a certificate", () => {
  const validity = { fromMs: from, untilMs: from + 90 * DAY_MS };
  const authority = makeAuthority("An authority", {
    fromMs: from,
    untilMs: Date.parse("2051-02-03T04:05:06Z"),
  });
  const issued = issueCertificate(authority, ["orders", "partners.example.org"], validity);
  const [issuer, own] = [new X509Certificate(authority.cert), new X509Certificate(issued.cert)];

  it("is issued and signed by its authority, for the key beside it", () => {
    expect(own.checkIssued(issuer)).toBe(true);
    expect(own.verify(issuer.publicKey)).toBe(true);
    expect(own.checkPrivateKey(createPrivateKey(issued.key))).toBe(true);
    expect(new X509Certificate(makeAuthority("An authority", validity).cert).verify(issuer.publicKey)).toBe(
      false,
    );
  });

  it("has its names, and is for a server and a client that is no authority", () => {
    expect(own.subjectAltName).toBe("DNS:orders, DNS:partners.example.org");
    expect(own.subject).toBe("CN=orders");
    expect(own.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    expect([own.ca, issuer.ca]).toEqual([false, true]);
  });

  it("is valid from and until the moments it was made for, beyond 2049 too", () => {
    expect(Date.parse(own.validFrom)).toBe(validity.fromMs);
    expect(Date.parse(own.validTo)).toBe(validity.untilMs);
    expect(Date.parse(issuer.validTo)).toBe(Date.parse("2051-02-03T04:05:06Z"));
  });

  it("has a serial number of its own", () => {
    const serials = Array.from({ length: 50 }, () => issueCertificate(authority, ["a"], validity)).map(
      ({ cert }) => new X509Certificate(cert).serialNumber,
    );
    expect(new Set(serials).size).toBe(50);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
  });
});

describe("npm run certificates", () => {
  const folder = mkdtempSync(join(tmpdir(), "waybill-certificates-"));
  const COMMAND = join(ROOT, "platform/commands/certificates.ts");
  const args = ["--authority", join(folder, "authority"), "--to", folder];
  const run = (...names: string[]) => execFileSync(process.execPath, [COMMAND, ...args, ...names]).toString();
  const certificate = (path: string) => new X509Certificate(readFileSync(join(folder, path)));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("makes the authority once, and each certificate anew", () => {
    expect(run("orders", "gateway,identity")).toBe("orders: 825 days\ngateway: 825 days\n");
    const [authority, orders] = [certificate("authority/ca.crt"), certificate("orders/tls.crt")];
    expect(certificate("gateway/tls.crt").subjectAltName).toBe("DNS:gateway, DNS:identity");
    for (const key of ["authority/ca.key", "orders/tls.key"]) {
      expect(statSync(join(folder, key)).mode & 0o777).toBe(0o600);
    }
    run("orders");
    expect(certificate("authority/ca.crt").fingerprint256).toBe(authority.fingerprint256);
    expect(certificate("orders/ca.crt").fingerprint256).toBe(authority.fingerprint256);
    expect(certificate("orders/tls.crt").fingerprint256).not.toBe(orders.fingerprint256);
    expect(certificate("orders/tls.crt").checkIssued(authority)).toBe(true);
  });

  it.each([[["--to", folder, "orders"]], [args], [[...args, "../orders"]]])(
    "with %j, prints its usage",
    (wrong) => {
      const { status, stderr } = spawnSync(process.execPath, [COMMAND, ...wrong], { encoding: "utf8" });
      expect([status, stderr]).toEqual([64, "certificates --authority FOLDER --to FOLDER NAME...\n"]);
    },
  );
});
