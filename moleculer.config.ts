/**
 * The broker options of a node that Moleculer's own runner starts, in a cluster over NATS:
 *   npx moleculer-runner --config moleculer.config.ts --repl services/partners/partners.service.ts
 * The settings come from the environment and from .env, as those of `npm start` do. The launcher makes its nodes from
 * the same options (platform/broker-options.ts) and loads the same service files.
 */
import "./platform/env-file.js";
import "./platform/telemetry.ts";
import { runnerOptions } from "./platform/runner-node.ts";

export default runnerOptions(process.env, process.argv.slice(2));
