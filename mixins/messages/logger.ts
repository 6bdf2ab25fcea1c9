import type { Service } from "moleculer";

/** The logger that Moleculer gives a service. */
export type Logger = Service["logger"];
