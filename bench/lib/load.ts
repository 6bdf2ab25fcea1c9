import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

export interface Measured {
  /** Completed units of work per second. */
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  errors: number;
}

/** One HTTP/1.1 request over a keep-alive connection, without parsing or redirects, which costs little CPU. */
export function send(
  agent: Agent,
  url: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { agent, method: options.method ?? "GET", headers: options.headers },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("end", () =>
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            body: Buffer.concat(chunks),
          }),
        );
        incoming.on("error", reject);
      },
    );
    outgoing.on("error", reject);
    outgoing.end(options.body);
  });
}

/**
 * Closed loop: each of `clients` starts its next unit of work when the last one ended.
 * @param extent the duration, or the total number of units
 * @param work one unit; gets the client's number and a keep-alive agent; a throw counts as an error
 */
export async function drive(
  clients: number,
  extent: { ms: number } | { units: number },
  work: (client: number, agent: Agent) => Promise<void>,
): Promise<Measured> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const latenciesMs: number[] = [];
  let errors = 0;
  const started = performance.now();
  let begunUnits = 0;
  const goesOn =
    "ms" in extent ? () => performance.now() < started + extent.ms : () => begunUnits++ < extent.units;
  const loop = async (client: number) => {
    while (goesOn()) {
      const begun = performance.now();
      try {
        await work(client, agent);
        latenciesMs.push(performance.now() - begun);
      } catch {
        errors++;
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, client) => loop(client)));
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();
  return { ...summary(latenciesMs, seconds), errors };
}

function summary(latenciesMs: number[], seconds: number) {
  latenciesMs.sort((a, b) => a - b);
  return {
    perSecond: latenciesMs.length / seconds,
    p50Ms: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
  };
}

/**
 * Open loop: a unit of work begins at each tick of the rate, whether or not earlier ones have ended. The latency counts
 * from the tick.
 */
export async function drivePaced(
  perSecond: number,
  ms: number,
  work: (number: number, agent: Agent) => Promise<void>,
): Promise<Measured> {
  const agent = new Agent({ keepAlive: true });
  const latenciesMs: number[] = [];
  let errors = 0;
  const running: Promise<void>[] = [];
  const started = performance.now();
  for (let number = 0; ; number++) {
    const dueMs = started + (number * 1000) / perSecond;
    if (dueMs >= started + ms) break;
    const waitMs = dueMs - performance.now();
    if (waitMs > 1) await delay(waitMs);
    running.push(
      work(number, agent).then(
        () => void latenciesMs.push(performance.now() - dueMs),
        () => void errors++,
      ),
    );
  }
  await Promise.all(running);
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();
  return { ...summary(latenciesMs, seconds), errors };
}

export function median(values: number[]): number {
  return percentile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

export function percentile(sorted: number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
