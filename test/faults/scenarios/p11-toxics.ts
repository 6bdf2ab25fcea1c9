import { setTimeout as delay } from "node:timers/promises";
import { home, signed } from "../../e2e/kitchen.ts";
import type { Toxic } from "../../servers/toxiproxy.ts";
import { paymentReport } from "../bank.ts";
import type { Dependency } from "../cluster.ts";
import { compare, type Outcome, quiet, type Run } from "../run.ts";

const SLOWEST_MS = 2_000;
const RECOVERED_WITHIN_MS = 10_000;
const GIVEN_UP_MS = 40_000;
const PAUSE_MS = 150;
/** A recovery is believed after so many good rounds. */
const GOOD_ROUNDS = 2;

const toxics: Record<string, Toxic> = {
  latency: { type: "latency", attributes: { latency: 3_000, jitter: 500 } },
  timeout: { type: "timeout", attributes: { timeout: 0 } },
  reset: { type: "reset_peer", attributes: { timeout: 0 } },
  "slow close": { type: "slow_close", attributes: { delay: 3_000 } },
  "limited data": { type: "limit_data", attributes: { bytes: 1_500 } },
  bandwidth: { type: "bandwidth", attributes: { rate: 1 } },
};
const dependencies: Dependency[] = ["postgres", "nats", "redis", "documents"];

/** Each fault of the network in front of each server: answers come in time, no process ends, and all recover soon after. */
export async function toxicNetwork(run: Run): Promise<Outcome> {
  const { cluster, scale } = run;
  const problems: string[] = [];
  const late: string[] = [];
  const figures: Record<string, string> = {};
  const probes = await makeProbes(run);
  const healthy = await round(probes);
  for (const { name, status, ms } of healthy) {
    if (status >= 400 || status === 0) problems.push(`${name} answered ${status} before anything was wrong`);
    figures[`healthy ${name}`] = `${ms} ms`;
  }
  for (const dependency of dependencies) {
    const said: string[] = [];
    for (const [name, toxic] of Object.entries(toxics)) {
      const proxy = cluster.proxies[dependency];
      const worst = { name: "", ms: 0 };
      const strange = new Set<string>();
      const untilMs = performance.now() + scale.toxicMs;
      await proxy.add(toxic);
      const loops = probes.map(async (probe) => {
        while (performance.now() < untilMs) {
          const { status, ms, code } = await probe.ask();
          if (ms > worst.ms) Object.assign(worst, { name: probe.name, ms });
          if (status === 0 || (status >= 500 && status !== 503))
            strange.add(`${probe.name}: ${status} ${code}`);
          await delay(PAUSE_MS);
        }
      });
      await Promise.all(loops);
      await proxy.heal();
      const recoveredMs = await recovered(probes);
      said.push(`${name} ${worst.ms}/${recoveredMs}`);
      const at = `${dependency}, ${name}`;
      if (worst.ms > SLOWEST_MS) late.push(`${at}: ${worst.name} took ${worst.ms} ms`);
      if (recoveredMs > RECOVERED_WITHIN_MS) late.push(`${at}: recovered after ${recoveredMs} ms`);
      for (const one of strange) problems.push(`${at}: ${one}`);
      run.say(`       P11 ${at}: slowest ${worst.ms} ms (${worst.name}), recovered after ${recoveredMs} ms`);
    }
    figures[`${dependency}: slowest/recovered ms`] = said.join(", ");
  }
  await quiet(run);
  return {
    promise: "P11",
    title: "each dependency behind each toxic",
    figures,
    late,
    problems: [...problems, ...(await compare(run))],
  };
}

interface Probe {
  name: string;
  ask(): Promise<{ status: number; ms: number; code: string }>;
}

/** Probes of requests by users and banks that together use every service and every store. */
async function makeProbes({ world, ledger }: Run): Promise<Probe[]> {
  const customer = world.customers[0] ?? world.operator;
  const token = await world.tokenOf(customer);
  const place = world.kitchens[0];
  const [orderId] = [...ledger.confirmed].find(([, { customerId }]) => customerId === customer.id) ?? [];
  const known = [...ledger.paymentEvents].find(([, { acknowledged }]) => acknowledged);
  if (!place || !orderId || !known)
    throw new Error("P11 wants orders that were made before: run it after P1 or P7");
  const [eventId, payment] = known;
  const callback = paymentReport(payment);
  const lines = [{ product_id: place.products[0], quantity: 1 }];
  const asked: [string, () => object][] = [
    ["GET /products?limit=5", () => ({ token })],
    ["GET /me", () => ({ token })],
    [`GET /orders/${orderId}`, () => ({ token })],
    [`GET /orders/${orderId}/history`, () => ({ token })],
    ["GET /me/notifications", () => ({ token })],
    ["POST /orders/check", () => ({ token, body: { partner_id: place.partnerId, lines, address: home } })],
    ["POST /sessions", () => ({ body: { email: customer.email, password: customer.password } })],
    [
      `POST /webhooks/payments/${world.bankId}`,
      () => ({ headers: signed(world.webhookSecret, eventId, new Date(), callback), body: callback }),
    ],
  ];
  return asked.map(([operation, sending]) => ({
    name: operation.replace(/[0-9a-f-]{36}/, ":id"),
    async ask() {
      const { status, ms, body, error } = await world.client.send(operation, sending());
      return { status, ms: Math.round(ms), code: String((body as { code?: string })?.code ?? error ?? "") };
    },
  }));
}

async function round(probes: readonly Probe[]) {
  return await Promise.all(probes.map(async (probe) => ({ name: probe.name, ...(await probe.ask()) })));
}

async function recovered(probes: readonly Probe[]): Promise<number> {
  const sinceMs = performance.now();
  let goodSinceMs = 0;
  for (let good = 0; good < GOOD_ROUNDS; ) {
    const beganMs = performance.now();
    const answers = await round(probes);
    const isGood = answers.every(({ status }) => status > 0 && status < 400);
    if (isGood && good === 0) goodSinceMs = beganMs;
    good = isGood ? good + 1 : 0;
    if (!isGood && beganMs - sinceMs > GIVEN_UP_MS) return Math.round(beganMs - sinceMs);
    await delay(PAUSE_MS);
  }
  return Math.round(goodSinceMs - sinceMs);
}
