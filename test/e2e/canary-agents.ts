import { createECDH, generateKeyPairSync } from "node:crypto";
import { newId } from "../../lib/ids.ts";

/** Keys of senders of notifications, each with a value that stands nowhere else. */
const apiKey = "canary-of-the-agent-88e2b7";
const signingKey = generateKeyPairSync("ec", {
  namedCurve: "P-256",
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
}).privateKey;
const pair = createECDH("prime256v1");
pair.generateKeys();

export const agentSecrets: readonly (readonly [what: string, value: string])[] = [
  ["an agent's key", apiKey],
  ["an agent's signing key", signingKey.split("\n")[1] ?? ""],
  ["an agent's key for browsers", pair.getPrivateKey("base64url")],
];

const apple = {
  teamId: "DEF123GHIJ",
  keyId: "ABC123DEFG",
  privateKey: signingKey,
  topic: "org.example.app",
};
const browsers = {
  publicKey: pair.getPublicKey("base64url"),
  privateKey: pair.getPrivateKey("base64url"),
  subject: "mailto:ops@canaries.example",
};
const settings = [
  { provider: "onesignal", values: { appId: newId(), apiKey } },
  { provider: "apns", values: apple },
  { provider: "webpush", values: browsers },
];

export const agent = {
  name: "Canary",
  priority: 900,
  providers: settings.map(({ provider }) => provider),
  settings,
  enabled: false,
};

/** Settings that are refused, with keys in places where they do not belong. */
export const misplaced: readonly object[] = [
  { agentKey: apiKey },
  [{ provider: "fcm", values: { ...apple, projectId: "canary", serviceAccount: signingKey } }],
];
