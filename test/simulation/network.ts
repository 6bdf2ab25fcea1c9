import type { Caller, Ctx } from "../../contracts/meta.ts";
import type { Machine, World } from "./engine.ts";

const LOST = 0.02;
const TWICE = 0.02;
const SLOW = 0.02;

export interface Request {
  params: unknown;
  caller?: Caller;
  idempotency?: { key: string; bodyHash: string };
}

type Action = (ctx: Ctx<never>) => Promise<unknown>;

/**
 * The actions of each machine and the connections between them. Requests and answers may be lost, duplicated or
 * delayed.
 */
export class Network {
  readonly #world: World;
  readonly #offers = new Map<string, { machine: Machine; action: Action }[]>();

  constructor(world: World) {
    this.#world = world;
  }

  offer(machine: Machine, actions: Readonly<Record<string, Action>>): void {
    for (const [name, action] of Object.entries(actions)) {
      const there = (this.#offers.get(name) ?? []).filter((offer) => !offer.machine.dead);
      this.#offers.set(name, [...there, { machine, action }]);
    }
  }

  /**
   * Calls an action on one of the machines that offer it.
   * @param from undefined: from outside, where nothing ends
   * @throws what the action throws, and REQUEST_TIMEOUT when its result is unknown
   */
  async call(name: string, request: Request, timeoutMs: number, from?: Machine): Promise<unknown> {
    const world = this.#world;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const timeout = world.at(timeoutMs, () => reject(failure("REQUEST_TIMEOUT", 504)), from);
    const send = () =>
      world.at(this.#delayMs(), () => {
        const there = (this.#offers.get(name) ?? []).filter(({ machine }) => !machine.dead);
        if (there.length === 0) {
          world.at(1, () => reject(failure("SERVICE_NOT_AVAILABLE", 503)), from);
          return;
        }
        this.#serve(world.random.pick(there), request, (settle) => {
          if (!world.trouble(LOST)) world.at(this.#delayMs(), () => settle(resolve, reject), from);
        });
      });
    if (!world.trouble(LOST)) send();
    if (world.trouble(TWICE)) send();
    try {
      return await promise;
    } finally {
      timeout.cancelled = true;
    }
  }

  #serve(
    { machine, action }: { machine: Machine; action: Action },
    { params, caller, idempotency }: Request,
    answer: (settle: (resolve: (value: unknown) => void, reject: (error: unknown) => void) => void) => void,
  ): void {
    const ctx = {
      params: structuredClone(params),
      meta: { ...(idempotency && { idempotency }) },
      locals: { ...(caller && { caller }) },
      broker: { logger: silent, options: {} },
      call: (name: string, inner: unknown, options?: { timeout?: number }) =>
        this.call(name, { params: inner }, options?.timeout ?? 1_400, machine),
    };
    const settle = async () => {
      try {
        const value = await action(ctx as unknown as Ctx<never>);
        answer((resolve) => resolve(value));
      } catch (error) {
        answer((_, reject) => reject(error));
      }
    };
    this.#world.at(0, () => void settle(), machine);
  }

  #delayMs(): number {
    const { random } = this.#world;
    return this.#world.trouble(SLOW) ? random.between(50, 3_000) : random.next() * 3;
  }
}

export function failure(type: string, code: number): Error {
  return Object.assign(new Error(type), { type, code });
}

const quiet = () => undefined;
export const silent = { fatal: quiet, error: quiet, warn: quiet, info: quiet, debug: quiet, trace: quiet };
