import { setTimeout as delay } from "node:timers/promises";

/**
 * The result of an operation: an answer, a refusal, or no answer. Without an answer it may or may not have happened.
 */
export type Outcome =
  | { kind: "answer"; value: unknown }
  | { kind: "refusal"; type: string }
  | { kind: "unknown" };

export interface Operation<Input> {
  readonly input: Input;
  /** Moments on one clock that counts events, so that before and after are exact. */
  readonly invoked: number;
  readonly returned: number;
  readonly outcome: Outcome;
}

export const NEVER = Number.POSITIVE_INFINITY;

/** Refusals that leave open whether something happened. */
export const SILENT = /^(?:REQUEST_TIMEOUT|SERVICE_UNAVAILABLE|OVERLOADED|QUEUE_FULL|SERVICE_NOT_AVAILABLE)$/;
const MAKE_TIMEOUT_MS = 60_000;
const MAKE_PAUSE_SECONDS = 0.2;
/** Refusals that tell of nothing but bad luck: nothing happened. */
const BAD_LUCK = /^(?:ORDER_CHANGED)$/;

/** Notes what clients do at the same time, in the order in which it begins and ends. */
export class Recorder<Input> {
  readonly operations: Operation<Input>[] = [];
  /** Operations that are not noted, because nothing happened but bad luck. */
  dropped = 0;
  #clock = 0;

  /**
   * Does something and notes what came of it.
   * @param abandoned the client does not wait for the answer
   */
  async run(input: Input, work: () => Promise<unknown>, abandoned = false): Promise<void> {
    this.#clock += 1;
    const invoked = this.#clock;
    const outcome = await outcomeOf(work());
    this.#clock += 1;
    if (outcome.kind === "refusal" && BAD_LUCK.test(outcome.type)) {
      this.dropped += 1;
      return;
    }
    const unknown = abandoned || (outcome.kind === "refusal" && SILENT.test(outcome.type));
    this.operations.push({
      ...{ input, invoked },
      returned: unknown ? NEVER : this.#clock,
      outcome: unknown ? { kind: "unknown" } : outcome,
    });
  }
}

/** Waits for one operation and returns its outcome. */
export async function outcomeOf(work: Promise<unknown>): Promise<Outcome> {
  try {
    return { kind: "answer", value: await work };
  } catch (error) {
    const { type, message } = error as { type?: string; message?: string };
    return { kind: "refusal", type: type ?? `unexpected: ${message}` };
  }
}

/**
 * Makes what a test needs at its start. On a busy machine this can fail for a moment. It is repeated after
 * the time that the refusal names, as a bank's circuit breaker does, or after a short time.
 */
export async function untilMade<T>(make: () => Promise<T>): Promise<T> {
  const deadlineMs = performance.now() + MAKE_TIMEOUT_MS;
  for (;;) {
    try {
      return await make();
    } catch (error) {
      const { retryable, data } = error as { retryable?: boolean; data?: { retryAfterSeconds?: number } };
      if (!retryable || performance.now() > deadlineMs) throw error;
      await delay((data?.retryAfterSeconds ?? MAKE_PAUSE_SECONDS) * 1_000);
    }
  }
}
