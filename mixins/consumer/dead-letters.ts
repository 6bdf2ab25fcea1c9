import type { ServiceSchema } from "moleculer";
import { actions, implement } from "../../contracts/actions.ts";
import { fail } from "../../contracts/errors.ts";
import { callerOf } from "../caller/caller.ts";
import type { Postgres } from "../postgres/postgres.mixin.ts";
import { drop, listDeadLetters, lockDeadLetter, revive, wasDeadLetter } from "./dead-letters.repository.ts";
import { judge } from "./judge.ts";

const DEFAULT_LIMIT = 50;

type Service = "orders" | "partners" | "notifications";

/**
 * The actions by which an operator sees and decides on the dead letters of a service. They are the same for
 * every service that has them in its contract; a group without is operated through the service it belongs to.
 */
export function deadLetterActions(
  group: string,
  postgres: Postgres,
  wake: () => void,
): ServiceSchema["actions"] {
  if (!Object.hasOwn(actions, `${group}.deadLetters`)) return {};
  const service = group as Service;
  return {
    deadLetters: implement(`${service}.deadLetters` as "orders.deadLetters", async (ctx) => {
      callerOf(ctx, "admin");
      const found = await listDeadLetters(postgres.db, ctx.params.limit ?? DEFAULT_LIMIT);
      return { items: found.map((letter) => ({ ...letter, service })) };
    }),
    replayDeadLetter: implement(`${service}.replayDeadLetter` as "orders.replayDeadLetter", async (ctx) => {
      callerOf(ctx, "admin");
      await replayDeadLetter(postgres, ctx.params.id);
      wake();
      return {};
    }),
    dropDeadLetter: implement(`${service}.dropDeadLetter` as "orders.dropDeadLetter", async (ctx) => {
      callerOf(ctx, "admin");
      const { id } = ctx.params;
      if (!(await drop(postgres.db, id)) && !(await wasDeadLetter(postgres.db, id))) throw fail("NOT_FOUND");
      return {};
    }),
  };
}

/**
 * Delivers a dead letter again. One that was quarantined is judged again, since the program may have learnt
 * its type; its age no longer counts, for a human has looked at it.
 * @throws NOT_FOUND, and VALIDATION_ERROR for a message that still cannot be understood
 */
async function replayDeadLetter(postgres: Postgres, id: string): Promise<void> {
  await postgres.transact(async (trx) => {
    const letter = await lockDeadLetter(trx, id);
    if (!letter) {
      if (await wasDeadLetter(trx, id)) return;
      throw fail("NOT_FOUND");
    }
    const { messageId, state } = letter;
    if (state === "dead") return revive(trx, id, { ...letter, id: messageId, state: "waiting" });
    const { incoming } = letter.data as { incoming?: unknown };
    const content = judge(incoming, Date.now(), Number.POSITIVE_INFINITY);
    if (content.state === "quarantined" || content.id !== messageId) {
      throw fail("VALIDATION_ERROR", `The message still cannot be understood: ${content.error}`);
    }
    await revive(trx, id, content);
  });
}
