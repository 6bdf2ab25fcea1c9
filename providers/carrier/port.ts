import type { Message, MessageType } from "../../contracts/messages.ts";

/**
 * Takes messages from the outboxes of some services to the inboxes of others. It may deliver a message twice
 * and in any order; what it must not do is forget one that `publish` resolved for.
 */
export interface Carrier {
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
  /** Whether it could take a message now. */
  ready(): Promise<boolean>;
  close(): Promise<void>;
}
