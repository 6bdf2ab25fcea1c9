import type { Service, ServiceBroker, ServiceSchema } from "moleculer";
import { withTimeout } from "../../lib/timeout.ts";

const CHECK_TIMEOUT_MS = 2_000;
const NAMES_SHOWN = 5;

/** Whether a required dependency is available. A check that throws or exceeds the time limit means no. */
export type Check = () => boolean | Promise<boolean>;
/** The current value, or one for each value of a label (`{ pending: 3, paid: 1 }`). */
export type Gauge = () => Figures | Promise<Figures>;
export type Figures = number | Record<string, number>;

export type Degradation = () => string | undefined | Promise<string | undefined>;

export interface HealthOptions {
  /** By the name of the dependency: `{ postgres: () => db.ping() }`. */
  checks?: Record<string, Check>;
  /**
   * By name: a reason why the service is degraded but still accepts requests; undefined when it is not degraded.
   */
  degradations?: Record<string, Degradation>;
  /** The outbox and inbox of the service, if it has them. */
  outbox?: { stats(): Promise<{ waiting: number; oldestAgeMs: number }> };
  inbox?: {
    stats(): Promise<{ waiting: number; deadLetters: number; oldestAgeMs: number }>;
    saturated?(): string | undefined;
  };
  /** By the metric's name without the prefix, as `outbox_messages`, and the label of its values if it has any. */
  gauges?: Gauges;
}

/** A metric whose name ends in `_total` is a counter: its values only grow. Every other one is a gauge. */
export type Gauges = Record<string, { about: string; label?: string; read: Gauge }>;

export interface CheckResult {
  service: string;
  check: string;
  ok: boolean;
  /** The reason of a degradation. */
  degraded?: string;
}

export interface GaugeResult {
  name: string;
  about: string;
  service: string;
  label?: string;
  figures: Figures;
}

interface Registered {
  service: string;
  checks: Record<string, Check>;
  degradations: Record<string, Degradation>;
  gauges: Gauges;
}

const registries = new WeakMap<ServiceBroker, Set<Registered>>();

/**
 * Registers checks and gauges of a service for the operations port of its process, from its start to its stop. A process
 * with several services is ready when all of them are.
 */
export function health(options: HealthOptions): { mixin: Partial<ServiceSchema> } {
  let registered: Registered | undefined;
  return {
    mixin: {
      async started(this: Service) {
        const gauges = { ...queueGauges(options), ...options.gauges };
        const { checks = {}, inbox } = options;
        const degradations = {
          ...(inbox?.saturated && { inbox: () => inbox.saturated?.() }),
          ...options.degradations,
        };
        registered = { service: this.name, checks, degradations, gauges };
        register(this.broker, registered);
      },
      async stopped(this: Service) {
        if (registered) registries.get(this.broker)?.delete(registered);
      },
    },
  };
}

/** Registers further gauges of a service, for as long as its broker exists. */
export function registerGauges({ broker, name }: Service, gauges: Gauges): void {
  register(broker, { service: name, checks: {}, degradations: {}, gauges });
}

function register(broker: ServiceBroker, registered: Registered): void {
  const registry = registries.get(broker) ?? new Set();
  registries.set(broker, registry);
  registry.add(registered);
}

/** Runs every check of this broker's services in parallel. */
export async function checkHealth(broker: ServiceBroker): Promise<CheckResult[]> {
  const running = [...(registries.get(broker) ?? [])].flatMap(({ service, checks, degradations }) => [
    ...Object.entries(checks).map(async ([check, run]) => ({ service, check, ok: await passes(run) })),
    ...Object.entries(degradations).map(([check, read]) => degradationOf(service, check, read)),
  ]);
  return await Promise.all(running);
}

/** A degradation that cannot be read in time counts as one. */
export async function degradationOf(service: string, check: string, read: Degradation): Promise<CheckResult> {
  const degraded = await runInTime(read).catch(() => "does not answer");
  return { service, check, ok: true, ...(degraded !== undefined && { degraded }) };
}

/** Reads every gauge of this broker's services. A gauge that fails is omitted. */
export async function readGauges(broker: ServiceBroker): Promise<GaugeResult[]> {
  const read = [...(registries.get(broker) ?? [])].flatMap(({ service, gauges }) =>
    Object.entries(gauges).map(async ([name, { about, label, read }]): Promise<GaugeResult[]> => {
      const figures = await runInTime(read).catch(() => undefined);
      if (figures === undefined) return [];
      return [{ name, about, service, figures, ...(label && { label }) }];
    }),
  );
  return (await Promise.all(read)).flat();
}

/** Lists the first names; undefined when there are none. */
export function leftOut(what: string, names: readonly string[]): string | undefined {
  return names.length === 0 ? undefined : `${what}: ${names.slice(0, NAMES_SHOWN).join(", ")}`;
}

function queueGauges({ outbox, inbox }: HealthOptions): Gauges {
  const about = {
    depth: "Messages that wait.",
    age: "Age of the message that waits longest.",
    dead: "Messages that failed at their last attempt and wait for an operator.",
  };
  return {
    ...(outbox && {
      outbox_messages: { about: about.depth, read: async () => (await outbox.stats()).waiting },
      outbox_oldest_seconds: {
        about: about.age,
        read: async () => seconds((await outbox.stats()).oldestAgeMs),
      },
    }),
    ...(inbox && {
      inbox_messages: { about: about.depth, read: async () => (await inbox.stats()).waiting },
      inbox_oldest_seconds: {
        about: about.age,
        read: async () => seconds((await inbox.stats()).oldestAgeMs),
      },
      dead_letters: { about: about.dead, read: async () => (await inbox.stats()).deadLetters },
    }),
  };
}

function seconds(ms: number): number {
  return Math.round(ms) / 1000;
}

export async function passes(check: Check): Promise<boolean> {
  return await runInTime(check).catch(() => false);
}

async function runInTime<T>(work: () => T | Promise<T>): Promise<T> {
  return await withTimeout(CHECK_TIMEOUT_MS, async () => work());
}
