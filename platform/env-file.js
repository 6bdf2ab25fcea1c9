// Preloaded by the scripts of package.json (`node --import ./platform/env-file.js …`): loads .env of the working
// directory with Node's own loader. Variables that are already set win. Plain JavaScript, so that an old Node reaches
// the launcher, which checks the version.
import { existsSync } from "node:fs";

if (existsSync(".env")) process.loadEnvFile?.();
