import type { ServiceBroker } from "moleculer";
import type { GaugeResult } from "../../mixins/health/health.mixin.ts";

/** The command cannot be executed. Only its message is printed. */
export class CommandError extends Error {}

export interface Answer {
  /** Printed by `--json` as one document. */
  json: unknown;
  text: string;
}

export interface CommandCall {
  broker: ServiceBroker;
  /** Reads the current gauges of the services. */
  gauges: () => Promise<GaugeResult[]>;
  args: Record<string, string | undefined>;
  options: { yes: boolean; limit: number };
  /** Values of the command's own options, by name. */
  given: Record<string, string>;
  /** Prints how far a long command has come, beside its answer. */
  progress: (text: string) => void;
}

export interface CommandOption {
  name: string;
  /** Placeholder of the value, such as `time`. */
  value: string;
  description: string;
}

/** A command of Waybill, beside those of Moleculer. */
export interface Command {
  /** Name and arguments, as `order <id>`. Optional arguments stand in square brackets, at the end. */
  usage: string;
  about: string;
  example: string;
  /** Options of its own, each with a value. */
  options?: readonly CommandOption[];
  /**
   * The data that the command destroys, as a text or computed; undefined if this call destroys nothing. A call that
   * destroys data requires --yes.
   */
  destroys?: string | ((call: CommandCall) => Promise<string | undefined>);
  /** The meaning of --yes for a command that destroys nothing and shows first what it would do. */
  yes?: string;
  run(call: CommandCall): Promise<Answer>;
}

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Checks a typed id. @throws CommandError */
export function idOf(text: string | undefined): string {
  if (!text || !ID.test(text)) throw new CommandError("that is no id: ids look like 0199c1a2-7f31-7a10-…");
  return text;
}

const SECRET = /(?:token|secret|password|^pin)$/i;

/** Returns a copy with all fields masked whose names look like secrets. */
export function masked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(masked);
  if (typeof value !== "object" || value === null || Buffer.isBuffer(value)) return value;
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      typeof inner === "string" && SECRET.test(key) ? "***" : masked(inner),
    ]),
  );
}
