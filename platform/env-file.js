// Preloaded by the scripts of package.json (`node --import ./platform/env-file.js …`): reads .env of the working
// directory by Node's own loader. Variables that are set already win. Plain JavaScript for any Node, since the launcher
// behind it says which Node is needed.
import { existsSync } from "node:fs";

if (existsSync(".env")) process.loadEnvFile?.();
