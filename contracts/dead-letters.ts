import { type Infer, integer, object, optional, text, time, uuid } from "./schema.ts";

/** A message that a service gave up on, or could not read. */
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

/** The number of dead letters that one call drops at most, well within the time-out of a statement. */
export const DROP_MAX = 1_000;
/** The number of dead letters that one call looks at, whether they match its filter or not. */
export const DROP_LOOKED_AT_MAX = 20_000;
/** Partners has two tables of dead letters: those of its inbox, and calls to partners' systems. */
const TABLES_MAX = 2;

/** The dead letters that are dropped together: those that match every field that is given. */
const filter = {
  consumer: optional(text(60)),
  type: optional(text(60)),
  /** Calls to this partner's system. */
  partnerId: optional(uuid),
  /** A part of the error, as the list shows it. */
  reason: optional(text(200)),
  /** Those that were given up before this moment. */
  before: optional(time),
} as const;

export const deadLetterDrop = object({
  ...filter,
  /** Dead letters up to this id are left out. */
  cursor: optional(uuid),
  /** 0 only counts. */
  limit: optional({ ...integer(0, DROP_MAX), convert: true } as const),
});
export type DeadLetterDrop = Infer<typeof deadLetterDrop>;

export const droppedLetters = object({
  dropped: integer(0, DROP_MAX * TABLES_MAX),
  /** Dead letters that match and are still there, among those that the call looked at. */
  left: integer(0, DROP_LOOKED_AT_MAX * TABLES_MAX),
  /** There is more to look at. The next call goes on here, because nothing is left before it or it only counts. */
  nextCursor: optional(uuid),
});
export type DroppedLetters = Infer<typeof droppedLetters>;
