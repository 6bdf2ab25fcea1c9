import type { Message, MessageType } from "../../contracts/messages.ts";

/**
 * Takes messages from the outboxes of some services to the inboxes of others. It may deliver a message twice
 * and in any order; what it must not do is forget one that `publish` resolved for, or if that happens to it, tell
 * the outboxes, which keep what they handed over.
 */
export interface MessageBus {
  /**
   * Resolves once the messages are safe: with every consumer group in its inbox, or in a stream that keeps them.
   * Rejects when that is not sure; the relay then hands them over again.
   */
  publish(messages: readonly Message[]): Promise<void>;
  /**
   * Delivers the messages of these types to a consumer group from now on, and those that it missed.
   * @param accept commits them to the group's inbox; while it rejects, they are delivered again. It takes
   *   whatever came, whole or not, and puts aside what it cannot read
   * @returns ends the subscription after the running delivery
   */
  subscribe(
    group: string,
    types: readonly MessageType[],
    accept: (messages: readonly unknown[]) => Promise<void>,
  ): Promise<() => Promise<void>>;
  /**
   * Asks an outbox to hand over again whenever something that the message bus took may be gone. One that keeps
   * nothing itself has nothing to ask for.
   * @returns ends the watch
   */
  watch?(outbox: ReplayState): Promise<() => Promise<void>>;
  /** Whether it could take a message now. */
  ready(): Promise<boolean>;
  /**
   * Whether there is room for what is handed over again, beside that for what will be said meanwhile. One that keeps
   * nothing itself need not say.
   */
  hasReplayCapacity?(): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * How much an outbox hands over again: `recent` is what it handed over in its last minutes, which a broker may
 * have acknowledged from memory before it died; a number is how far it looks back from its last hand-over, in
 * milliseconds, `Infinity` for everything that it still keeps.
 */
export type ReplayRange = "recent" | number;

/** An outbox as a message bus sees it that may lose what it took. */
export interface ReplayState {
  /** What the message bus last noted about its store, here, where it outlives the broker and this process. */
  checkpoint(): Promise<string | undefined>;
  /**
   * Notes `next` in place of `seen` and, in the same transaction, that so much is to be handed over again.
   * @returns false when it is no longer `seen` that stands there: another replica was quicker
   */
  saveCheckpoint(next: string, seen: string | undefined, again?: ReplayRange): Promise<boolean>;
}
