// The entry of `npm start`. Plain JavaScript, so that an old Node can run it and print its version, and so that the
// compile cache exists before the first TypeScript file is loaded: type stripping and compiling take half a second and
// 12 MB at each start. Only the user who installs can write to this cache; the default is in the temporary folder,
// where another user of the machine could inject code.
import module from "node:module";
import { fileURLToPath } from "node:url";

const LEAST_NODE = 24;

const major = Number(process.versions.node.split(".")[0]);
if (major < LEAST_NODE) {
  console.error(
    `Waybill needs Node ${LEAST_NODE} or newer, and this is ${process.version}: "npm ci" brings it on Linux; elsewhere install it.`,
  );
  process.exit(1);
}
module.enableCompileCache(fileURLToPath(new URL("../node_modules/.cache/waybill", import.meta.url)));
await import("./telemetry.ts");
await import("./start.ts");
