import {
  createHash,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";

/** An authority that issues certificates, or a certificate that one has issued. */
export interface Certificate {
  /** PEM. */
  cert: string;
  /** PEM, PKCS #8. */
  key: string;
}

export interface Validity {
  fromMs: number;
  untilMs: number;
}

const BASIC_CONSTRAINTS = "2.5.29.19";
const KEY_USAGE = "2.5.29.15";
const EXTENDED_KEY_USAGE = "2.5.29.37";
const SUBJECT_ALT_NAME = "2.5.29.17";
const SUBJECT_KEY_ID = "2.5.29.14";
const AUTHORITY_KEY_ID = "2.5.29.35";
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const ECDSA_WITH_SHA256 = "1.2.840.10045.4.3.2";
const COMMON_NAME = "2.5.4.3";
const SERIAL_BYTES = 16;
const TRUE = Buffer.from([0x01, 0x01, 0xff]);

/** Creates the authority for the certificates of one installation: a P-256 key and a self-signed certificate. */
export function makeAuthority(name: string, validity: Validity): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const extensions = [
    extension(BASIC_CONSTRAINTS, sequence(TRUE, der(0x02, Buffer.from([0]))), true),
    extension(KEY_USAGE, bits(0b0000_0110), true), // signs certificates and revocation lists
    extension(SUBJECT_KEY_ID, der(0x04, keyId(publicKey))),
  ];
  const signed = { subject: name, issuer: name, publicKey, validity, extensions };
  return { cert: signedBy(privateKey, signed), key: pemOf(privateKey) };
}

/** Issues a certificate for servers and clients with these DNS names. The first name is also the common name. */
export function issueCertificate(
  authority: Certificate,
  names: readonly [string, ...string[]],
  validity: Validity,
): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const issuer = new X509Certificate(authority.cert);
  const extensions = [
    extension(BASIC_CONSTRAINTS, sequence(), true),
    extension(KEY_USAGE, bits(0b1000_0000), true), // signs handshakes
    extension(EXTENDED_KEY_USAGE, sequence(objectId(SERVER_AUTH), objectId(CLIENT_AUTH))),
    extension(SUBJECT_ALT_NAME, sequence(...names.map((name) => der(0x82, Buffer.from(name))))),
    extension(SUBJECT_KEY_ID, der(0x04, keyId(publicKey))),
    extension(AUTHORITY_KEY_ID, sequence(der(0x80, keyId(issuer.publicKey)))),
  ];
  const issuerName = /^CN=(.*)$/m.exec(issuer.subject)?.[1] ?? "";
  const signed = { subject: names[0], issuer: issuerName, publicKey, validity, extensions };
  return { cert: signedBy(authority.key, signed), key: pemOf(privateKey) };
}

interface Unsigned {
  subject: string;
  issuer: string;
  publicKey: KeyObject;
  validity: Validity;
  extensions: Buffer[];
}

/** A certificate of X.509 version 3 (RFC 5280) in PEM. */
function signedBy(
  key: KeyObject | string,
  { subject, issuer, publicKey, validity, extensions }: Unsigned,
): string {
  const serial = randomBytes(SERIAL_BYTES);
  serial.writeUInt8((serial.readUInt8(0) & 0x7f) | 0x40, 0); // positive and of full length
  const algorithm = sequence(objectId(ECDSA_WITH_SHA256));
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    algorithm,
    distinguishedName(issuer),
    sequence(time(validity.fromMs), time(validity.untilMs)),
    distinguishedName(subject),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...extensions)),
  );
  const whole = sequence(body, algorithm, bitString(sign("sha256", body, key)));
  const lines = whole.toString("base64").match(/.{1,64}/g) as string[];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function pemOf(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

function keyId(key: KeyObject): Buffer {
  return createHash("sha1")
    .update(key.export({ type: "spki", format: "der" }))
    .digest();
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const size = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, ...parts);
}

function bitString(bytes: Buffer): Buffer {
  return der(0x03, Buffer.from([0]), bytes);
}

/** A bit string of one byte. DER requires that trailing zeros are omitted. */
function bits(byte: number): Buffer {
  const unused = Math.log2(byte & -byte);
  return der(0x03, Buffer.from([unused, byte]));
}

function objectId(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der(0x06, Buffer.from(bytes));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(der(0x31, sequence(objectId(COMMON_NAME), der(0x0c, Buffer.from(commonName)))));
}

/** UTCTime until 2049 and GeneralizedTime after it (RFC 5280). */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
  return Number(digits.slice(0, 4)) < 2050
    ? der(0x17, Buffer.from(digits.slice(2)))
    : der(0x18, Buffer.from(digits));
}

function extension(id: string, value: Buffer, isCritical = false): Buffer {
  return sequence(objectId(id), ...(isCritical ? [TRUE] : []), der(0x04, value));
}
