// The entry of `npm start`. Plain JavaScript, so that any Node can read it and say what is wrong with it; and so
// that the cache below is there before the first TypeScript file is: stripping types and compiling is half a second
// and 12 MB of each start. The cache lies where only whoever installs may write; the default is below the temporary
// folder, where another user of the machine could put code in our place.
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
