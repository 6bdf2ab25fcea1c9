import { enableCompileCache } from "node:module";
import { fileURLToPath } from "node:url";

// Stripping types and compiling costs a third of a later start. In a folder that only whoever installs writes to:
// the default is below the temporary folder, where another user of the machine could put code in our place.
enableCompileCache(fileURLToPath(new URL("../node_modules/.cache/waybill", import.meta.url)));
await import("./start.ts");
