/** A node of its own in a process of its own, for tests: `fork` it with the node's options as its argument. */
import { ServiceBroker } from "moleculer";
import { grpcBridge } from "../../mixins/grpc/index.ts";
import { tracing } from "../../mixins/tracing/index.ts";
import { stopTelemetry } from "../../platform/telemetry.ts";
import { newState, PROTO_DIR, probeService, SECRET, tcpNode } from "./bridge.ts";

const { nodeID, namespace, urls } = JSON.parse(process.argv[2] as string);
const bridge = grpcBridge({ secret: SECRET, host: "127.0.0.1", port: 0, protoDir: PROTO_DIR });
const broker = new ServiceBroker({ ...tcpNode(nodeID, namespace, urls), middlewares: [bridge, tracing()] });
broker.createService(probeService(newState()));
await broker.start();
process.send?.({ ready: true });
process.on("SIGTERM", async () => {
  await broker.stop();
  await stopTelemetry();
  process.exit(0);
});
