import { type Infer, integer, object, text, time, uuid } from "./schema.ts";

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
