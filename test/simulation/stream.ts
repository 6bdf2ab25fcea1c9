import type { Message, MessageType } from "../../contracts/messages.ts";
import type { MessageBus, ReplayState } from "../../providers/message-bus/index.ts";
import type { Machine, World } from "./engine.ts";

const LOST = 0.03;
const TWICE = 0.05;
const LATE = 0.05;
const REDELIVERY_MS = 4_000;
const BATCH_MAX = 8;
/** Longer than a relay takes from the stream's answer to its commit. */
const MARKED_AFTER_MS = 6_000;

interface Member {
  machine: Machine;
  types: ReadonlySet<MessageType>;
  accept: (messages: readonly unknown[], redelivered?: boolean) => Promise<void>;
}

interface Group {
  types: ReadonlySet<MessageType>;
  members: Member[];
  /** Not acknowledged yet: of each, when it may be delivered (again). */
  open: Map<Message, number>;
  timed: boolean;
}

/**
 * A stream between the outboxes and the inboxes: it keeps what it took until each group has acknowledged it,
 * delivers at least once and in any order, loses answers, and comes late.
 */
export class Stream {
  readonly #world: World;
  readonly #groups = new Map<string, Group>();
  readonly #keepers = new Map<ReplayState, Machine>();
  /** The stream is unreachable before this moment. */
  awayUntilMs = 0;
  /** Another one after each loss. */
  #identity = 1;

  constructor(world: World, groups: Readonly<Record<string, readonly MessageType[]>>) {
    this.#world = world;
    for (const [name, types] of Object.entries(groups)) {
      this.#groups.set(name, { types: new Set(types), members: [], open: new Map(), timed: false });
    }
  }

  /** Messages that a group has not acknowledged. */
  waiting(): number {
    return [...this.#groups.values()].reduce((sum, { open }) => sum + open.size, 0);
  }

  /** All messages that it accepted and that are not acknowledged are lost. */
  lose(): void {
    this.#identity += 1;
    this.#world.say("the stream loses everything");
    for (const { open } of this.#groups.values()) open.clear();
    for (const [keeper, machine] of this.#keepers) this.#ask(keeper, machine, false);
  }

  /**
   * Compares itself with what an outbox noted of it, as the message bus's watch does: after a loss everything is handed over
   * again and, once what was acknowledged before is marked as well, the newest; so it is when a process begins to watch.
   */
  #ask(keeper: ReplayState, machine: Machine, recent: boolean): void {
    const world = this.#world;
    if (world.faults.has("stream lost unnoticed")) return;
    const ask = async () => {
      const seen = await keeper.checkpoint();
      const now = String(this.#identity);
      const isLost = seen !== undefined && seen !== now;
      const again = isLost ? Number.POSITIVE_INFINITY : recent ? "recent" : undefined;
      if (again === undefined && seen === now) return;
      if (!(await keeper.saveCheckpoint(now, seen, again))) throw new Error("another one noted something");
      if (isLost) world.at(MARKED_AFTER_MS, () => this.#ask(keeper, machine, true), machine);
    };
    const trying = () => ask().catch(() => void world.at(500, trying, machine));
    world.at(world.random.between(1, 2_000), trying, machine);
  }

  concerns(group: string, type: MessageType): boolean {
    return this.#groups.get(group)?.types.has(type) === true;
  }

  messageBus(machine: Machine): MessageBus {
    const world = this.#world;
    return {
      publish: async (messages) => {
        await world.pause(world.random.next() * 4, machine);
        if (world.troubled && world.nowMs < this.awayUntilMs) throw new Error("the broker is away");
        if (world.trouble(LOST / 2)) throw new Error("the stream did not answer");
        this.#keep(messages);
        await machine.mayEnd(0.005);
        if (world.trouble(LOST / 2)) throw new Error("the stream's answer was lost");
      },
      subscribe: async (name, types, accept) => {
        const group = this.#groups.get(name);
        const member: Member = { machine, types: new Set(types), accept };
        group?.members.push(member);
        return async () => void group?.members.splice(group.members.indexOf(member), 1);
      },
      watch: async (keeper) => {
        this.#keepers.set(keeper, machine);
        machine.whenKilled(() => this.#keepers.delete(keeper));
        this.#ask(keeper, machine, true);
        return async () => void this.#keepers.delete(keeper);
      },
      ready: async () => true,
      close: async () => undefined,
    };
  }

  #keep(messages: readonly Message[]): void {
    for (const [name, group] of this.#groups) {
      for (const one of messages) {
        if (!group.types.has(one.type)) continue;
        const late = this.#world.trouble(LATE) ? this.#world.random.between(1_000, 90_000) : 0;
        // Each receiver gets a copy, so that a change by one does not affect others.
        const copy = JSON.parse(JSON.stringify(one)) as Message;
        group.open.set(copy, this.#world.nowMs + late);
      }
      this.#schedule(name, group, this.#world.random.next() * 5);
    }
  }

  #schedule(name: string, group: Group, delayMs: number): void {
    if (group.timed || group.open.size === 0) return;
    group.timed = true;
    this.#world.at(delayMs, () => {
      group.timed = false;
      this.#deliver(name, group);
    });
  }

  #deliver(name: string, group: Group): void {
    const { random, faults } = this.#world;
    group.members = group.members.filter(({ machine }) => !machine.dead);
    const due = [...group.open].filter(([, atMs]) => atMs <= this.#world.nowMs).map(([message]) => message);
    if (due.length > 0 && group.members.length > 0) {
      const from = random.between(0, due.length - 1);
      const batch = due.slice(from, from + random.between(1, BATCH_MAX));
      for (const message of batch) group.open.set(message, this.#world.nowMs + REDELIVERY_MS);
      if (faults.has("acknowledge before commit")) for (const message of batch) group.open.delete(message);
      this.#hand(group, batch);
      if (this.#world.trouble(TWICE)) this.#hand(group, batch);
    }
    const next = Math.min(...group.open.values()) - this.#world.nowMs;
    this.#schedule(name, group, Math.max(due.length > 0 ? 1 : 20, next));
  }

  #hand(group: Group, batch: readonly Message[]): void {
    const world = this.#world;
    const { machine, accept } = world.random.pick(group.members);
    if (world.trouble(LOST)) return;
    const copies = batch.map((message) => structuredClone(message));
    world.at(
      world.random.next() * 3,
      () => {
        // Some count as delivered before, so that messages are handled on arrival and by workers.
        accept(copies, world.random.next() < 0.3).then(
          () => {
            if (world.trouble(LOST)) return;
            world.at(world.random.next() * 3, () => {
              for (const message of batch) group.open.delete(message);
            });
          },
          () => undefined,
        );
      },
      machine,
    );
  }
}
