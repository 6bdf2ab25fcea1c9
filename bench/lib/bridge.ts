import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MethodDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { type BrokerOptions, ServiceBroker } from "moleculer";
import { grpcBridge } from "moleculer-grpc";
import { issueCertificate, makeAuthority } from "../../lib/certificates.ts";
import { tracing } from "../../mixins/tracing/tracing.middleware.ts";
import { grpcBinding } from "../../platform/grpc.ts";

export const CALLER = "caller";
export const PEER = "peer";

const PROTO_DIR = join(import.meta.dirname, "../proto");
const SERVICE = "waybill.bench.v1.Bench";

/**
 * A node with the platform's span around every call and its bridge, found by the other one at a port of TCP.
 * @param certificates a folder with the certificates of both nodes; without it the nodes call each other without TLS
 */
export function benchBroker(
  nodeID: string,
  ownPort: number,
  othersPort: number,
  certificates?: string,
): ServiceBroker {
  const other = nodeID === CALLER ? PEER : CALLER;
  const urls = [`tcp://127.0.0.1:${ownPort}/${nodeID}`, `tcp://127.0.0.1:${othersPort}/${other}`];
  const options = { udpDiscovery: false, useHostname: false, gossipPeriod: 1, urls, port: ownPort };
  return new ServiceBroker({
    nodeID,
    logger: false,
    transporter: { type: "TCP", options } as unknown as BrokerOptions["transporter"],
    requestTimeout: 5_000,
    tracking: { enabled: true },
    middlewares: [
      tracing(),
      grpcBridge({
        ...grpcBinding,
        secret: "a secret that only this benchmark knows",
        protoDir: PROTO_DIR,
        tls: certificates ? filesIn(join(certificates, nodeID)) : undefined,
      }),
    ],
  });
}

/** Makes certificates for both nodes. @returns their folder */
export function makeCertificates(): string {
  const folder = mkdtempSync(join(tmpdir(), "waybill-bench-"));
  const validity = { fromMs: Date.now() - 60_000, untilMs: Date.now() + 3_600_000 };
  const authority = makeAuthority("Bench", validity);
  for (const nodeID of [CALLER, PEER]) {
    const { cert, key } = issueCertificate(authority, [nodeID], validity);
    const files = filesIn(join(folder, nodeID));
    mkdirSync(join(folder, nodeID));
    writeFileSync(files.cert, cert);
    writeFileSync(files.key, key);
    writeFileSync(files.ca, authority.cert);
  }
  return folder;
}

function filesIn(folder: string) {
  return { cert: join(folder, "tls.crt"), key: join(folder, "tls.key"), ca: join(folder, "ca.crt") };
}

/** The same method as grpc-js and proto-loader have it by themselves. */
export function rawEcho(): MethodDefinition<object, object> {
  const loaded = loadSync("waybill/bench/v1/echo.proto", { includeDirs: [PROTO_DIR], longs: Number });
  return (loaded[SERVICE] as Record<string, MethodDefinition<object, object>>).Echo as MethodDefinition<
    object,
    object
  >;
}
