import { boolean, type Infer, integer, listOf, object, oneOf, optional, text, time, uuid } from "./schema.ts";

/** A message that a service could not read or could not handle within its attempts. */
export const deadLetter = object({
  id: uuid,
  service: text(40),
  consumer: text(60),
  messageId: uuid,
  type: text(60),
  subject: text(100),
  attempts: integer(0, 2 ** 31 - 1),
  error: text(2000),
  at: time,
});
export type DeadLetter = Infer<typeof deadLetter>;

/** A message about one subject that was not sent yet, or was received and not handled yet. */
export const undeliveredMessage = object({
  messageId: uuid,
  type: text(60),
  attempts: integer(0, 2 ** 31 - 1),
  error: optional(text(2000)),
  /** Absent in answers of processes of version 0.1, like the fields after it. */
  service: optional(text(40)),
  /** `outbox`: the service has not sent it; `inbox`: it has not handled it. */
  place: optional(oneOf("outbox", "inbox")),
  consumer: optional(text(60)),
  state: optional(oneOf("waiting", "dead")),
  since: optional(time),
  /** The time of the next attempt. */
  nextAt: optional(time),
  /** The id by which an operator replays or drops it. */
  deadLetterId: optional(uuid),
  /** Whether its handler waits until a dependency is available again, as the document store. */
  waitsForDependency: optional(boolean),
});
export type UndeliveredMessage = Infer<typeof undeliveredMessage>;

/** The most dead letters that one call drops, well within the time-out of a statement. */
export const DROP_MAX = 1_000;
/** The most dead letters that one call reads, whether they match its filter or not. */
export const DROP_SCANNED_MAX = 20_000;
/** Partners has two tables of dead letters: one for its inbox and one for calls to partners' systems. */
const TABLES_MAX = 2;

/** Selects the dead letters that match every given field. */
const filter = {
  consumer: optional(text(60)),
  type: optional(text(60)),
  /** Calls to this partner's system. */
  partnerId: optional(uuid),
  /** A part of the error text that the list shows. */
  reason: optional(text(200)),
  /** Only dead letters that are older than this time. */
  before: optional(time),
} as const;

/** The most dead letters that one call replays: each is replayed in a transaction of its own. */
export const REPLAY_MAX = 100;

export const deadLetterReplay = object({
  ...filter,
  /** Skips dead letters up to this id. */
  cursor: optional(uuid),
  /** 0 only counts. */
  limit: optional({ ...integer(0, REPLAY_MAX), convert: true } as const),
});
export type DeadLetterReplay = Infer<typeof deadLetterReplay>;

export const deadLetterReplayResult = object({
  replayed: integer(0, REPLAY_MAX * TABLES_MAX),
  /** Dead letters that match and cannot be replayed, as a webhook about a cancelled order. They stay dead letters. */
  refused: listOf(object({ id: uuid, reason: text(300) })),
  /** Dead letters that match and remain after those that were tried, among those that the call read. */
  left: integer(0, DROP_SCANNED_MAX * TABLES_MAX),
  /** Present if there are more dead letters to read: the `cursor` of the next call. */
  nextCursor: optional(uuid),
});
export type DeadLetterReplayResult = Infer<typeof deadLetterReplayResult>;

export const deadLetterDrop = object({
  ...filter,
  /** Skips dead letters up to this id. */
  cursor: optional(uuid),
  /** 0 only counts. */
  limit: optional({ ...integer(0, DROP_MAX), convert: true } as const),
});
export type DeadLetterDrop = Infer<typeof deadLetterDrop>;

export const deadLetterDropResult = object({
  dropped: integer(0, DROP_MAX * TABLES_MAX),
  /** Dead letters that match and remain, among those that the call read. */
  left: integer(0, DROP_SCANNED_MAX * TABLES_MAX),
  /** Present if there are more dead letters to read: the `cursor` of the next call. */
  nextCursor: optional(uuid),
});
export type DeadLetterDropResult = Infer<typeof deadLetterDropResult>;
