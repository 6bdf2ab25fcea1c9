import { action } from "./action.ts";
import {
  deadLetter,
  deadLetterDrop,
  deadLetterDropResult,
  deadLetterReplay,
  deadLetterReplayResult,
  undeliveredMessage,
} from "./dead-letters.ts";
import { listOf, nothing, object, paging, uuid } from "./schema.ts";

/** The services that have queues and therefore dead letters. */
export const queueOwners = ["orders", "partners", "notifications", "identity"] as const;
export type QueueOwner = (typeof queueOwners)[number];

/**
 * The actions of every service with an inbox on its own queues. The consumer mixin adds them to the service as
 * `<service>.deadLetters` and so on, for the gateway and the REPL.
 */
const deadLetters = action(object({ limit: paging.limit }), object({ items: listOf(deadLetter) }), {
  idempotent: true,
});
const oneDeadLetter = action(object({ id: uuid }), nothing, { idempotent: true });
/** Messages about one subject, such as an order, that this service has not sent or not handled yet. */
const undelivered = action(object({ subject: uuid }), object({ items: listOf(undeliveredMessage) }), {
  idempotent: true,
});
/** The broker does not repeat it: a repeat would drop further letters, and its answer would not count the first ones. */
const dropDeadLetters = action(deadLetterDrop, deadLetterDropResult);
/** Not repeated for the same reason. */
const replayDeadLetters = action(deadLetterReplay, deadLetterReplayResult);

export const operationsActions = {
  "orders.deadLetters": deadLetters,
  "orders.replayDeadLetter": oneDeadLetter,
  "orders.dropDeadLetter": oneDeadLetter,
  "orders.dropDeadLetters": dropDeadLetters,
  "orders.replayDeadLetters": replayDeadLetters,
  "orders.undelivered": undelivered,
  "partners.deadLetters": deadLetters,
  "partners.replayDeadLetter": oneDeadLetter,
  "partners.dropDeadLetter": oneDeadLetter,
  "partners.dropDeadLetters": dropDeadLetters,
  "partners.replayDeadLetters": replayDeadLetters,
  "partners.undelivered": undelivered,
  "notifications.deadLetters": deadLetters,
  "notifications.replayDeadLetter": oneDeadLetter,
  "notifications.dropDeadLetter": oneDeadLetter,
  "notifications.dropDeadLetters": dropDeadLetters,
  "notifications.replayDeadLetters": replayDeadLetters,
  "notifications.undelivered": undelivered,
  "identity.deadLetters": deadLetters,
  "identity.replayDeadLetter": oneDeadLetter,
  "identity.dropDeadLetter": oneDeadLetter,
  "identity.dropDeadLetters": dropDeadLetters,
  "identity.replayDeadLetters": replayDeadLetters,
  "identity.undelivered": undelivered,
} as const;
