import type { ServiceBroker } from "moleculer";

/** The time limit of a request for which the time limits of its parts are stated. */
const STATED_FOR_MS = 1_800;

/**
 * The time limit of a part of a request: longer where the request timeout of the node is longer.
 * @param statedMs the limit in milliseconds under a request timeout of 1,800 ms
 */
export function partOfRequestTimeout({ options }: Pick<ServiceBroker, "options">, statedMs: number): number {
  return Math.round((statedMs * (options.requestTimeout || STATED_FOR_MS)) / STATED_FOR_MS);
}
