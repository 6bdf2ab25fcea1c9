import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Middleware } from "moleculer";
import {
  type BridgeOptions,
  type ClientGate,
  grpcBridge,
  type SharedServer,
  TlsFileError,
  type TlsOptions,
} from "moleculer-grpc";
import { entryOf, fail } from "../contracts/errors.ts";
import type { Meta } from "../contracts/meta.ts";
import { systemClock } from "../lib/clock.ts";
import { type Settings, SettingsError } from "../lib/settings/settings.ts";

/** Warn so many days before the certificate expires. */
const RENEWAL_DAYS = 30;
const DAY_MS = 86_400_000;

/** Wire names, errors and metadata of this platform, for every bridge. */
export const grpcBinding = {
  prefix: "waybill",
  errors: {
    create: fail,
    // Messages of the catalogue's client errors are meant for clients; of other errors only the title is.
    publicText({ type, code, message }) {
      const entry = type === undefined ? undefined : entryOf(type);
      return entry && code < 500 ? message : entry?.title;
    },
  },
  meta: {
    encode: ({ token, requestId, clientIp, idempotency }: Meta) => ({
      authorization: token ? `Bearer ${token}` : undefined,
      "x-request-id": requestId,
      "waybill-client-ip": clientIp,
      "idempotency-key": idempotency?.key,
      "waybill-body-hash": idempotency?.bodyHash,
    }),
    decode(get): Meta {
      const token = /^Bearer (.+)$/i.exec(get("authorization") ?? "")?.[1];
      const requestId = get("x-request-id");
      const clientIp = get("waybill-client-ip");
      const key = get("idempotency-key");
      const bodyHash = get("waybill-body-hash");
      return {
        ...(token !== undefined && { token }),
        ...(requestId !== undefined && { requestId }),
        ...(clientIp !== undefined && { clientIp }),
        ...(key !== undefined && bodyHash !== undefined && { idempotency: { key, bodyHash } }),
      };
    },
  },
  now: () => systemClock.now(),
} satisfies Partial<BridgeOptions>;

/** The certificate of a process contains the names of its nodes: their ids without the suffix after the dot. */
function tlsOf({
  GRPC_TLS_CERT: cert,
  GRPC_TLS_KEY: key,
  GRPC_TLS_CA: ca,
}: Settings): TlsOptions | undefined {
  if (!cert || !key || !ca) return undefined;
  return { cert, key, ca, nameOf: (nodeID) => nodeID.replace(/\..*$/, "") };
}

/**
 * The gRPC bridge of one node: it calls the actions in the proto folder by gRPC and offers those of this node.
 * @param clients admits clients that are no nodes
 * @throws SettingsError for an invalid file of GRPC_TLS_*
 */
export function nodeBridge(settings: Settings, listener: SharedServer, clients?: ClientGate): Middleware {
  const options: BridgeOptions = {
    ...grpcBinding,
    secret: settings.BRIDGE_SECRET,
    previousSecret: settings.BRIDGE_SECRET_PREVIOUS,
    host: settings.GRPC_HOST,
    port: settings.GRPC_PORT,
    announce: settings.GRPC_ANNOUNCE,
    protoDir: fileURLToPath(new URL("../proto", import.meta.url)),
    listener,
    clients,
    tls: tlsOf(settings),
  };
  try {
    return grpcBridge(options);
  } catch (error) {
    if (!(error instanceof TlsFileError)) throw error;
    throw new SettingsError([`GRPC_TLS_${error.option.toUpperCase()} ${error.reason}`]);
  }
}

/** @returns a warning for the operator when the certificate expires soon or cannot be read; otherwise undefined */
export function certificateWarning(file: string | undefined, nowMs = systemClock.now()): string | undefined {
  if (!file) return undefined;
  try {
    const { validTo } = new X509Certificate(readFileSync(file));
    const leftDays = (Date.parse(validTo) - nowMs) / DAY_MS;
    return leftDays > RENEWAL_DAYS ? undefined : `GRPC_TLS_CERT expires in ${Math.floor(leftDays)} days`;
  } catch {
    return "GRPC_TLS_CERT cannot be read";
  }
}
