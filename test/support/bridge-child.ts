/** A node of its own in a process of its own, for tests: `fork` it with the node's options as its argument. */
import { ServiceBroker } from "moleculer";
import { tracing } from "../../mixins/tracing/tracing.middleware.ts";
import { stopTelemetry } from "../../platform/telemetry.ts";
import { newState, probeBridge, probeService, tcpNode } from "./bridge.ts";

const { nodeID, namespace, urls } = JSON.parse(process.argv[2] as string);
const broker = new ServiceBroker({
  ...tcpNode(nodeID, namespace, urls),
  middlewares: [probeBridge(), tracing()],
});
broker.createService(probeService(newState()));
await broker.start();
process.send?.({ ready: true });
process.on("SIGTERM", async () => {
  await broker.stop();
  await stopTelemetry();
  process.exit(0);
});
