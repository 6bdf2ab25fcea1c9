import type { ServiceBroker } from "moleculer";
import type { GaugeResult } from "../../mixins/health/health.mixin.ts";

/** What was asked for cannot be done; the message is all that the operator needs. */
export class CommandError extends Error {}

export interface Answer {
  /** What `--json` prints, in one document. */
  json: unknown;
  text: string;
}

export interface CommandCall {
  broker: ServiceBroker;
  /** What the services count now. */
  gauges: () => Promise<GaugeResult[]>;
  args: Record<string, string | undefined>;
  options: { yes: boolean; limit: number };
  /** The command's own options that were given, by name. */
  given: Record<string, string>;
}

export interface CommandOption {
  name: string;
  /** What its value is, as `time`. */
  value: string;
  description: string;
}

/** A command of ours beside Moleculer's own. */
export interface Command {
  /** Name and arguments, as `order <id>`. */
  usage: string;
  about: string;
  example: string;
  /** Options of its own, each with a value. */
  options?: readonly CommandOption[];
  /** What it destroys, in words or to be found out; it is only done with --yes. */
  destroys?: string | ((call: CommandCall) => Promise<string>);
  run(call: CommandCall): Promise<Answer>;
}

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** An id that was typed. @throws CommandError */
export function idOf(text: string | undefined): string {
  if (!text || !ID.test(text)) throw new CommandError("that is no id: ids look like 0199c1a2-7f31-7a10-…");
  return text;
}

const SECRET = /(?:token|secret|password|^pin)$/i;

/** The same data with every secret in it masked, whatever it is called. */
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
