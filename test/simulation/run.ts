import { Cluster, KINDS } from "./cluster.ts";
import { World } from "./engine.ts";
import { type Fault, Faults } from "./faults.ts";
import { enter } from "./globals.ts";
import { Outside } from "./outside.ts";
import { checkAtRest, unended, unrest } from "./rest.ts";

const REST_STEPS_MAX = 60_000;
const LOOK_EVERY = 40;
const MACHINES_EACH = 2;
/** Longer than every deadline of an order; and longer than the bank is asked about one. */
const JUMP_MS = 31 * 60_000;
const LONG_JUMP_MS = 25 * 3_600_000;
const OUTAGE_MS = 3 * 3_600_000;
const SHORT_JUMPS = 2;
const SETTLE_MS = 25_000;

export interface Result {
  seed: number;
  /** Events of the run: statements, deliveries, timers, crashes; each a point where something may go wrong. */
  steps: number;
  /** Commands, payments and callbacks of those outside. */
  acts: number;
  orders: number;
  kills: number;
  deadLetters: number;
  broken: string[];
  trace?: string[];
}

/** One run, which is a function of its seed: trouble for so many steps, then rest, with the checks on the way. */
export async function simulate(
  seed: number,
  options: { steps: number; fault?: Fault; traced?: boolean },
): Promise<Result> {
  const world = new World(seed, new Faults(options.fault), options.traced);
  enter(world);
  try {
    const cluster: Cluster = new Cluster(world, (event) => outside.report(event));
    const outside = new Outside(cluster);
    for (const kind of KINDS) {
      for (let n = 1; n <= MACHINES_EACH; n += 1) cluster.boot(kind, `${kind}-${n}`);
    }
    outside.live();
    const mischief = new Mischief(cluster);
    while (world.steps < options.steps && world.broken.length === 0) await world.step();
    world.troubled = false;
    await rest(cluster);
    if (world.broken.length === 0) checkAtRest(cluster);
    return {
      ...{ seed, steps: world.steps, acts: outside.acts, kills: mischief.kills, broken: world.broken },
      orders: cluster.servers.orders.table("orders").size,
      deadLetters: KINDS.reduce(
        (count, kind) =>
          count +
          cluster.servers[kind].all<{ state: string }>("inbox").filter(({ state }) => state === "dead")
            .length,
        0,
      ),
      ...(world.trace && { trace: world.trace }),
    };
  } finally {
    enter(undefined);
  }
}

/** Kills machines, stops them for a while, and moves clocks, besides what goes wrong at the statements. */
class Mischief {
  kills = 0;

  constructor(cluster: Cluster) {
    const { world } = cluster;
    const { random } = world;
    const next = () =>
      world.at(random.between(200, 8_000), () => {
        if (!world.troubled) return;
        const machine = random.pick([...cluster.machines]);
        const what = random.next();
        if (what < 0.5) {
          this.kills += 1;
          machine.kill();
        } else if (what < 0.75) {
          machine.frozenUntilMs = world.nowMs + random.between(1_000, 25_000);
          world.say(`${machine.name} stands still`);
        } else if (what < 0.8) {
          cluster.stream.lose();
        } else if (what < 0.9) {
          machine.skewMs += random.between(-60_000, 60_000);
        } else if (what < 0.93) {
          this.#outage(cluster);
        } else {
          const server = cluster.servers[random.pick(KINDS)];
          server.aheadMs += random.pick([1_000, 20_000, 700_000, JUMP_MS]);
          world.say(`the clock of ${server.name} jumps`);
        }
        next();
      });
    next();
  }

  /** The broker is unreachable while three hours pass on the databases' clocks. */
  #outage({ world, stream, servers }: Cluster): void {
    const ms = world.random.between(5_000, 20_000);
    stream.awayUntilMs = world.nowMs + ms;
    world.say("the broker is away for 3 hours");
    world.at(ms / 2, () => {
      for (const kind of KINDS) servers[kind].aheadMs += OUTAGE_MS;
    });
  }
}

/** No more trouble: what was begun comes to its end, and what waits is let wait until its deadline. */
async function rest(cluster: Cluster): Promise<void> {
  const { world } = cluster;
  const until = world.steps + REST_STEPS_MAX;
  let jumps = 0;
  while (world.broken.length === 0) {
    for (let n = 0; n < LOOK_EVERY; n += 1) await world.step();
    const moving = unrest(cluster);
    if (!moving) {
      if (jumps > SHORT_JUMPS && unended(cluster).length === 0) return;
      jumps += 1;
      const byMs = jumps > SHORT_JUMPS ? LONG_JUMP_MS : JUMP_MS;
      for (const kind of KINDS) cluster.servers[kind].aheadMs += byMs;
      world.say(`${byMs / 60_000} minutes pass`);
      const from = world.nowMs;
      while (world.nowMs < from + SETTLE_MS && world.broken.length === 0) await world.step();
    }
    if (world.steps > until)
      return void world.violated(`it does not come to rest: ${moving ?? "orders wait"}`);
  }
}
