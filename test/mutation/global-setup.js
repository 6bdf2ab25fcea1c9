import { resolve } from "node:path";

/** The run's folder, with its database server, outlives the run: `sandbox.ts` makes and removes it. */
export default function globalSetup() {
  process.env.NODE_COMPILE_CACHE ??= resolve("node_modules/.cache/waybill");
}
