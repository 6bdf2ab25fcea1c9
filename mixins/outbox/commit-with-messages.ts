import type { NewMessage } from "../../contracts/messages.ts";
import { failpoint } from "../../lib/failpoint.ts";
import type { Outbox } from "./outbox.mixin.ts";

/**
 * Runs one statement that is its own transaction and stores messages, which are published after its commit.
 * @param statement gets the rows of the outbox, for `insertOfMessages`
 */
export async function commitWithMessages<T>(
  outbox: Pick<Outbox, "rowsFor">,
  messages: readonly NewMessage[],
  statement: (rows: string) => Promise<T>,
): Promise<T> {
  const stored = Promise.withResolvers<void>();
  const rows = outbox.rowsFor(stored.promise, messages);
  failpoint("transaction.ending");
  const result = await statement(rows);
  failpoint("transaction.ended");
  stored.resolve();
  return result;
}
