import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import timers from "node:timers/promises";
import { newId } from "../../lib/ids.ts";
import { World } from "./engine.ts";

/** The run that the program's clock, timers and chance belong to now. */
let world: World | undefined;
/** How often chance was asked for many bytes at once. */
let draws = 0;

export function enter(next: World | undefined): void {
  world = next;
  // Random bytes that an earlier run left in the pool of ids are used up first, so that this run has its own.
  for (draws = 0; world && draws === 0; ) newId();
}

/**
 * Takes the process's clock, timers and source of chance away and gives it those of the run. The product asks
 * Node for all of them, so it needs no hands of its own for this; a run is in a process apart for this reason.
 */
export function takeOver(): void {
  const real = { now: Date.now, random: Math.random, randomFillSync: crypto.randomFillSync };
  Date.now = () => (world ? Math.round(world.nowMs + (World.machine()?.skewMs ?? 0)) : real.now());
  Math.random = () => (world ? world.random.next() : real.random());
  const randomFillSync = (bytes: Buffer) => {
    draws += 1;
    if (!world) return real.randomFillSync(bytes);
    for (let i = 0; i + 4 <= bytes.length; i += 4) bytes.writeUInt32LE(world.random.word(), i);
    return bytes;
  };
  crypto.randomFillSync = randomFillSync as typeof crypto.randomFillSync;
  timers.setTimeout = ((ms: number) => after(ms)) as typeof timers.setTimeout;
  syncBuiltinESMExports();
  const handle = (cancel: () => void) => ({ unref: () => undefined, ref: () => undefined, cancel });
  globalThis.setTimeout = ((run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
    const event = world?.at(ms, () => run(...args), World.machine());
    return handle(() => {
      if (event) event.cancelled = true;
    });
  }) as unknown as typeof setTimeout;
  globalThis.setInterval = ((run: () => void, ms = 0) => {
    let event: { cancelled: boolean } | undefined;
    let over = false;
    const of = world;
    const machine = World.machine();
    const next = () => {
      event = of?.at(
        ms,
        () => {
          run();
          if (!over) next();
        },
        machine,
      );
    };
    next();
    return handle(() => {
      over = true;
      if (event) event.cancelled = true;
    });
  }) as unknown as typeof setInterval;
  const cancel = (timer: unknown) => (timer as { cancel?: () => void } | undefined)?.cancel?.();
  globalThis.clearTimeout = cancel as typeof clearTimeout;
  globalThis.clearInterval = cancel as typeof clearInterval;
}

function after(ms: number): Promise<void> {
  return world ? world.pause(ms, World.machine()) : Promise.reject(new Error("no run"));
}
