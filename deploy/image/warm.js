// Imports every module that a container loads at its start, so that Node's compile cache is in the image. The file system
// of a container is read-only. Run it while the image is built, as the user of the container: Node has one cache for
// each user and version.
import module from "node:module";
import { fileURLToPath } from "node:url";

const root = new URL("../../", import.meta.url);

module.enableCompileCache(fileURLToPath(new URL("node_modules/.cache/waybill", root)));
// With the URL of a collector, the tracing modules are imported too.
process.env.OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:4318";
const loaded = [
  "platform/telemetry.ts",
  "platform/launch.ts",
  "platform/topology.ts",
  "platform/operator.ts",
  "platform/operations/operations-server.ts",
  "platform/operations/call-metrics.ts",
  "platform/control/server.ts",
  "platform/welcome.ts",
  "platform/migrate.ts",
  "providers/message-bus/jetstream.ts",
];
for (const file of loaded) await import(new URL(file, root).href);
module.flushCompileCache();
process.exit(0);
