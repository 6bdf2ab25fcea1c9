import type { Metadata } from "@grpc/grpc-js";
import { verifyCredential } from "./credential.ts";
import type { BridgeSettings } from "./options.ts";
import { isCertified } from "./tls.ts";

interface ReceivedCall {
  metadata: Metadata;
  getAuthContext(): { sslPeerCertificate?: { raw: Buffer } };
}

/**
 * Verifies who calls a method: by the credential and, with TLS, for callers that are nodes by the certificate too.
 * @param isNode whether a caller of this name has to have the certificate of a node
 * @returns the caller; undefined when it has not proved its name
 */
export function authenticate(
  call: ReceivedCall,
  path: string,
  settings: BridgeSettings,
  isNode: (caller: string) => boolean,
): string | undefined {
  const { names, tls } = settings;
  const credential = call.metadata.get(names.credential)[0];
  const caller = verifyCredential(credential, { ...settings, prefix: names.prefix, path });
  if (caller === undefined) return undefined;
  return !tls || !isNode(caller) || isCertified(call, tls.nameOf(caller)) ? caller : undefined;
}
