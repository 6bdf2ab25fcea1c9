import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { PeerCertificate, SecureContextOptions } from "node:tls";
import { type ChannelCredentials, credentials, ServerCredentials } from "@grpc/grpc-js";

/** Mutual TLS between nodes. The paths are of PEM files. */
export interface TlsOptions {
  /** This node's certificate, with its chain. It needs the key usages of a server and of a client. */
  cert: string;
  key: string;
  /** The certificates of the authorities that nodes' certificates are issued by; several for a rotation. */
  ca: string;
  /** The DNS name (SAN) that a node's certificate has to have. Default: the node's id. */
  nameOf?: (nodeID: string) => string;
  /** How often the files are read again, so that renewed certificates need no restart. Default: 60,000. */
  reloadMs?: number;
}

interface Material {
  cert: Buffer;
  key: Buffer;
  ca: Buffer;
}

/** A file of TlsOptions cannot be used. */
export class TlsFileError extends Error {
  readonly option: keyof Material;
  readonly reason: string;

  constructor(option: keyof Material, reason: string) {
    super(`tls.${option} ${reason}`);
    this.option = option;
    this.reason = reason;
  }
}

/** The certificate of this node, always the latest one. */
export interface TlsIdentity {
  nameOf(nodeID: string): string;
  /** @throws TlsFileError when the certificate is not for this node */
  checkName(nodeID: string): void;
  /** For connections to a node; they fail when the server has no certificate for the node's name. */
  channelCredentials(): ChannelCredentials;
  /** For `RenewableCredentials` of a server. */
  secureContext(): SecureContextOptions;
  /**
   * Reads the files now and then. Calls back when the certificate was renewed, and with the reason when the files cannot
   * be used; the former certificate stays then.
   * @returns ends it
   */
  watch(onChange: () => void, onError: (reason: string) => void): () => void;
}

const RELOAD_MS = 60_000;

/** @throws TlsFileError for a file that cannot be read, is no PEM, does not match the others or has expired */
export function tlsIdentity(options: TlsOptions): TlsIdentity {
  const { nameOf = (nodeID) => nodeID, reloadMs = RELOAD_MS } = options;
  let material = read(options);
  return {
    nameOf,
    checkName(nodeID) {
      const name = nameOf(nodeID);
      if (!hasName(material.cert, name)) throw new TlsFileError("cert", `has no DNS name ${name}`);
    },
    channelCredentials: () =>
      credentials.createSsl(material.ca, material.key, material.cert, { checkServerIdentity }),
    secureContext: () => material,
    watch(onChange, onError) {
      const timer = setInterval(() => {
        try {
          const found = read(options);
          if (isSame(found, material)) return;
          material = found;
          onChange();
        } catch (error) {
          onError((error as Error).message);
        }
      }, reloadMs).unref();
      return () => clearInterval(timer);
    },
  };
}

/** Whether a caller has a certificate of an accepted authority, valid when it connected, with this DNS name. */
export function isCertified(
  call: { getAuthContext(): { sslPeerCertificate?: { raw: Buffer } } },
  name: string,
): boolean {
  // grpc-js gives only a certificate that was verified.
  const { sslPeerCertificate } = call.getAuthContext();
  return sslPeerCertificate !== undefined && hasName(sslPeerCertificate.raw, name);
}

/**
 * Credentials of a server whose certificate is renewed while it runs. Clients without a certificate can connect:
 * `isCertified` distinguishes nodes from them.
 */
export class RenewableCredentials extends ServerCredentials {
  constructor(context: SecureContextOptions) {
    super({ requestCert: true, rejectUnauthorized: false }, context);
  }

  /** For all new connections. */
  renew(context: SecureContextOptions): void {
    this.updateSecureContextOptions(context);
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

function read(options: TlsOptions): Material {
  const material = {
    cert: readPart("cert", options),
    key: readPart("key", options),
    ca: readPart("ca", options),
  };
  const own = parsed("cert", () => new X509Certificate(material.cert));
  parsed("ca", () => new X509Certificate(material.ca));
  const key = parsed("key", () => createPrivateKey(material.key));
  if (!own.checkPrivateKey(key)) throw new TlsFileError("key", "does not match the certificate");
  if (Date.parse(own.validTo) < Date.now()) throw new TlsFileError("cert", "has expired");
  return material;
}

function readPart(part: keyof Material, options: TlsOptions): Buffer {
  try {
    return readFileSync(options[part]);
  } catch (error) {
    throw new TlsFileError(part, `cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function parsed<T>(part: keyof Material, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw new TlsFileError(part, "is not in PEM format");
  }
}

function isSame(one: Material, other: Material): boolean {
  return (["cert", "key", "ca"] as const).every((part) => one[part].equals(other[part]));
}

/** As Node's own check, but by alternative names alone. */
function checkServerIdentity(name: string, { raw }: PeerCertificate): Error | undefined {
  return hasName(raw, name) ? undefined : new Error(`The certificate is not for ${name}.`);
}

function hasName(certificate: Buffer, name: string): boolean {
  return (
    new X509Certificate(certificate).checkHost(name, { subject: "never", wildcards: false }) !== undefined
  );
}
