import { AsyncLocalStorage } from "node:async_hooks";
import type { Faults } from "./faults.ts";
import { Random } from "./random.ts";

/** Where the time of every run begins; nothing depends on the day of the run. */
export const START_MS = Date.parse("2026-03-01T12:00:00.000Z");

interface Event {
  readonly atMs: number;
  /** Breaks ties by chance, and is unique. */
  readonly order: number;
  readonly machine: Machine | undefined;
  readonly run: () => void;
  cancelled: boolean;
  /** A look at the time: what follows from it counts as steps, it alone does not. */
  readonly idle: boolean;
}

/** The machine whose code runs now. Timers belong to it, and it has a clock of its own. */
const onMachine = new AsyncLocalStorage<Machine>();
/** Kept before the run takes the timers away: one turn of the loop lets every ready promise go on. */
const turn = globalThis.setImmediate;

/**
 * The world of one run: its time, its chance and what will happen next. Everything asynchronous is an event here,
 * and one event happens at a time; what follows from it at once is done before the next. An event is a step.
 */
export class World {
  readonly random: Random;
  readonly seed: number;
  readonly faults: Faults;
  nowMs = START_MS;
  steps = 0;
  /** Violations as text. The run ends with the first. */
  readonly broken: string[] = [];
  /** Whether the world still makes trouble: it stops when the run is to come to rest. */
  troubled = true;
  readonly trace: string[] | undefined;
  #heap: Event[] = [];
  #count = 0;

  constructor(seed: number, faults: Faults, traced = false) {
    this.seed = seed;
    this.faults = faults;
    this.random = new Random(seed);
    this.trace = traced ? [] : undefined;
  }

  static machine(): Machine | undefined {
    return onMachine.getStore();
  }

  say(what: string): void {
    this.trace?.push(`${this.steps} +${((this.nowMs - START_MS) / 1000).toFixed(3)}s ${what}`);
  }

  violated(what: string): void {
    this.say(`VIOLATION ${what}`);
    this.broken.push(what);
  }

  /** Trouble of the given probability, as long as there is trouble. */
  trouble(probability: number): boolean {
    return this.troubled && this.random.chance(probability);
  }

  /** Makes something happen `delayMs` from now, unless the machine has gone by then. */
  at(delayMs: number, run: () => void, machine?: Machine, idle = false): Event {
    this.#count += 1;
    const order = this.random.word() * 2 ** 20 + (this.#count % 2 ** 20);
    const event: Event = { atMs: this.nowMs + delayMs, order, machine, run, cancelled: false, idle };
    this.#push(event);
    return event;
  }

  /** Resolves after `delayMs` of the run's time; never, when the machine has gone by then. */
  pause(delayMs: number, machine?: Machine): Promise<void> {
    return new Promise((resolve) => this.at(delayMs, resolve, machine));
  }

  /** The next event and everything that follows from it at once. @returns false when nothing will happen any more */
  async step(): Promise<boolean> {
    for (;;) {
      const event = this.#pop();
      if (!event) return false;
      if (event.cancelled || event.machine?.dead) continue;
      this.nowMs = Math.max(this.nowMs, event.atMs);
      const until = event.machine?.frozenUntilMs ?? 0;
      if (until > this.nowMs) {
        this.#push({ ...event, atMs: until });
        continue;
      }
      if (!event.idle) this.steps += 1;
      if (event.machine) event.machine.run(event.run);
      else event.run();
      await new Promise((resolve) => turn(resolve));
      return true;
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!before(event, heap[above] as Event)) break;
      heap[at] = heap[above] as Event;
      at = above;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (!first || !last || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && before(heap[below + 1] as Event, heap[below] as Event)) below += 1;
      if (!before(heap[below] as Event, last)) break;
      heap[at] = heap[below] as Event;
      at = below;
    }
    heap[at] = last;
    return first;
  }
}

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** A process: code runs on it until it is killed, and then never goes on, wherever it was. */
export class Machine {
  readonly world: World;
  readonly name: string;
  dead = false;
  /** How far its clock is off. */
  skewMs = 0;
  /** Nothing happens on it before this moment: it stands still, as a machine does that is out of memory. */
  frozenUntilMs = 0;
  readonly #onDeath = new Set<() => void>();

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
  }

  run<T>(work: () => T): T {
    return onMachine.run(this, work);
  }

  /** @returns takes the wish back */
  whenKilled(then: () => void): () => void {
    this.#onDeath.add(then);
    return () => this.#onDeath.delete(then);
  }

  kill(): void {
    if (this.dead) return;
    this.dead = true;
    this.world.say(`${this.name} is killed`);
    for (const then of this.#onDeath) then();
    this.#onDeath.clear();
  }

  /** The process may end here: code that waits for this promise never continues. */
  async mayEnd(probability: number): Promise<void> {
    if (this.world.trouble(probability)) this.kill();
    if (this.dead) await new Promise(() => undefined);
  }
}
