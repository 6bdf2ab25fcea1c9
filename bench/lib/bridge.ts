import { join } from "node:path";
import type { MethodDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { type BrokerOptions, ServiceBroker } from "moleculer";
import { grpcBridge } from "moleculer-grpc";
import { tracing } from "../../mixins/tracing/index.ts";
import { grpcBinding } from "../../platform/grpc.ts";

export const CALLER = "caller";
export const PEER = "peer";

const PROTO_DIR = join(import.meta.dirname, "../proto");
const SERVICE = "waybill.bench.v1.Bench";

/** A node with the platform's span around every call and its bridge, found by the other one at a port of TCP. */
export function benchBroker(nodeID: string, ownPort: number, othersPort: number): ServiceBroker {
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
      }),
    ],
  });
}

/** The same method as grpc-js and proto-loader have it by themselves. */
export function rawEcho(): MethodDefinition<object, object> {
  const loaded = loadSync("waybill/bench/v1/echo.proto", { includeDirs: [PROTO_DIR], longs: Number });
  return (loaded[SERVICE] as Record<string, MethodDefinition<object, object>>).Echo as MethodDefinition<
    object,
    object
  >;
}
