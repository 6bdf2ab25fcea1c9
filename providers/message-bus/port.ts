import type { Message, MessageType } from "../../contracts/messages.ts";

/**
 * Delivers messages from the outboxes of some services to the inboxes of others. It may deliver a message twice and
 * in any order. It must not lose a message for which `publish` resolved. If it may have lost one, it asks the
 * outboxes to replay: they keep what they sent.
 */
export interface MessageBus {
  /**
   * Resolves once the messages are stored: in the inbox of every consumer group, or in a durable stream. Rejects when
   * that is uncertain; the relay then publishes them again.
   */
  publish(messages: readonly Message[]): Promise<void>;
  /**
   * Delivers the messages of these types to a consumer group: new ones, and those that it missed.
   * @param accept commits them to the group's inbox; while it rejects, they are delivered again. It also accepts
   *   malformed messages and quarantines them. `redelivered`: one of them was delivered before, and the process may have
   *   ended meanwhile. A message bus that stores nothing does not say it: its messages are older than the process then
   * @returns a function that ends the subscription after the running delivery
   */
  subscribe(
    group: string,
    types: readonly MessageType[],
    accept: (messages: readonly unknown[], redelivered?: boolean) => Promise<void>,
  ): Promise<() => Promise<void>>;
  /**
   * Starts a replay of this outbox whenever the message bus may have lost stored messages. A message bus that stores
   * nothing lacks this method.
   * @returns a function that ends the watch
   */
  watch?(outbox: ReplayState): Promise<() => Promise<void>>;
  /** Whether `publish` can succeed now. */
  ready(): Promise<boolean>;
  /**
   * Whether there is space for replayed messages beside the new ones. A message bus that stores nothing lacks this
   * method.
   */
  hasReplayCapacity?(): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * How much an outbox replays. `recent`: the messages of the last minutes, which a broker may have acknowledged from
 * memory before it crashed. A number: milliseconds before the last publication; `Infinity` means everything that the
 * outbox still has.
 */
export type ReplayRange = "recent" | number;

/** The part of an outbox that a message bus needs which can lose messages. */
export interface ReplayState {
  /** The last saved state of the stream. It is stored in the outbox's database, so it survives the broker. */
  checkpoint(): Promise<string | undefined>;
  /**
   * Replaces the checkpoint `seen` by `next` and, in the same transaction, requests a replay of `again`.
   * @returns false when the checkpoint is no longer `seen`: another replica has saved one
   */
  saveCheckpoint(next: string, seen: string | undefined, again?: ReplayRange): Promise<boolean>;
}
