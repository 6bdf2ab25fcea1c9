import { action } from "./action.ts";
import { deadLetter, deadLetterDrop, droppedLetters } from "./dead-letters.ts";
import { listOf, nothing, object, paging, uuid } from "./schema.ts";

/** The services that have queues, and so dead letters. */
export const queueOwners = ["orders", "partners", "notifications", "identity"] as const;
export type QueueOwner = (typeof queueOwners)[number];

/**
 * What every service with an inbox answers about its own queues. The consumer mixin brings these actions, so
 * that the gateway and the REPL find them as `<service>.deadLetters` and so on.
 */
const deadLetters = action(object({ limit: paging.limit }), object({ items: listOf(deadLetter) }), {
  idempotent: true,
});
const oneDeadLetter = action(object({ id: uuid }), nothing, { idempotent: true });
/** Never repeated by the broker: a repeat drops the next ones, and its answer does not count the first. */
const dropDeadLetters = action(deadLetterDrop, droppedLetters);

export const operationsActions = {
  "orders.deadLetters": deadLetters,
  "orders.replayDeadLetter": oneDeadLetter,
  "orders.dropDeadLetter": oneDeadLetter,
  "orders.dropDeadLetters": dropDeadLetters,
  "partners.deadLetters": deadLetters,
  "partners.replayDeadLetter": oneDeadLetter,
  "partners.dropDeadLetter": oneDeadLetter,
  "partners.dropDeadLetters": dropDeadLetters,
  "notifications.deadLetters": deadLetters,
  "notifications.replayDeadLetter": oneDeadLetter,
  "notifications.dropDeadLetter": oneDeadLetter,
  "notifications.dropDeadLetters": dropDeadLetters,
  "identity.deadLetters": deadLetters,
  "identity.replayDeadLetter": oneDeadLetter,
  "identity.dropDeadLetter": oneDeadLetter,
  "identity.dropDeadLetters": dropDeadLetters,
} as const;
