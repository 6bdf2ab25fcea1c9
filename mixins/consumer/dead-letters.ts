import type { ServiceSchema } from "moleculer";
import { actions, implement } from "../../contracts/actions.ts";
import { fail } from "../../contracts/errors.ts";
import type { MessageType } from "../../contracts/messages.ts";
import { operatorRoles } from "../../contracts/meta.ts";
import { omitUndefined } from "../../lib/omit-undefined.ts";
import type { Transaction } from "../../lib/sql/database.ts";
import { callerOf } from "../caller/caller.ts";
import { audit } from "../outbox/audit.ts";
import type { Outbox } from "../outbox/outbox.mixin.ts";
import type { Postgres } from "../postgres/postgres.mixin.ts";
import { dropDeadLetters, inboxDeadLetters, replayDeadLetters } from "./dead-letter-drop.ts";
import {
  drop,
  listDeadLetters,
  listUndelivered,
  lockDeadLetter,
  requeue,
  wasDeadLetter,
} from "./dead-letters.repository.ts";
import type { Handlers } from "./handlers.ts";
import { parseMessage } from "./parse-message.ts";

const DEFAULT_LIMIT = 50;
const UNDELIVERED_MAX = 100;

type Service = "orders" | "partners" | "notifications" | "identity";

interface DeadLetterDeps {
  group: string;
  handlers: Handlers;
  postgres: Postgres;
  outbox?: Pick<Outbox, "add">;
  wake(): void;
}

/**
 * The actions by which an operator lists, replays and drops the dead letters of a service, one or many, and lists the messages about one
 * subject that are not delivered yet. Every service with these
 * actions in its contract gets the same ones. A group without them, or without an outbox for the audit, gets none.
 */
export function deadLetterActions({
  group,
  handlers,
  postgres,
  outbox,
  wake,
}: DeadLetterDeps): ServiceSchema["actions"] {
  if (!outbox || !Object.hasOwn(actions, `${group}.deadLetters`)) return {};
  const service = group as Service;
  return {
    deadLetters: implement(`${service}.deadLetters` as "orders.deadLetters", async (ctx) => {
      callerOf(ctx, "admin");
      const found = await listDeadLetters(postgres.db, ctx.params.limit ?? DEFAULT_LIMIT);
      return { items: found.map((deadLetter) => ({ ...deadLetter, service })) };
    }),
    replayDeadLetter: implement(`${service}.replayDeadLetter` as "orders.replayDeadLetter", async (ctx) => {
      callerOf(ctx, "admin");
      await postgres.transact(async (trx) => {
        await replayDeadLetter(trx, ctx.params.id);
        await audit(outbox, trx, ctx, ctx.params.id);
      });
      wake();
      return {};
    }),
    dropDeadLetter: implement(`${service}.dropDeadLetter` as "orders.dropDeadLetter", async (ctx) => {
      callerOf(ctx, "admin");
      const { id } = ctx.params;
      await postgres.transact(async (trx) => {
        if (!(await drop(trx, id)) && !(await wasDeadLetter(trx, id))) throw fail("NOT_FOUND");
        await audit(outbox, trx, ctx, id);
      });
      return {};
    }),
    dropDeadLetters: implement(`${service}.dropDeadLetters` as "orders.dropDeadLetters", async (ctx) => {
      callerOf(ctx, "admin");
      return await dropDeadLetters({ postgres, outbox }, ctx, inboxDeadLetters, service);
    }),
    replayDeadLetters: implement(
      `${service}.replayDeadLetters` as "orders.replayDeadLetters",
      async (ctx) => {
        callerOf(ctx, "admin");
        const deps = { postgres, outbox };
        const result = await replayDeadLetters(deps, ctx, inboxDeadLetters, service, replayDeadLetter);
        wake();
        return result;
      },
    ),
    undelivered: implement(`${service}.undelivered` as "orders.undelivered", async (ctx) => {
      callerOf(ctx, ...operatorRoles);
      const found = await listUndelivered(postgres.db, ctx.params.subject, UNDELIVERED_MAX);
      return {
        items: found.map((message) => {
          const handler = handlers[message.type as MessageType];
          const waits = message.state === "waiting" && message.place === "inbox" && handler?.needs;
          const waitsForDependency = waits ? !waits.available() : undefined;
          return omitUndefined({ ...message, service, waitsForDependency });
        }),
      };
    }),
  };
}

/**
 * Delivers a dead letter again. A quarantined one is parsed again, since a newer program may know its type. Its age is
 * not checked, since an operator has decided.
 * @throws NOT_FOUND, and VALIDATION_ERROR for a message that is still not valid
 */
async function replayDeadLetter(trx: Transaction, id: string): Promise<void> {
  const deadLetter = await lockDeadLetter(trx, id);
  if (!deadLetter) {
    if (await wasDeadLetter(trx, id)) return;
    throw fail("NOT_FOUND");
  }
  const { messageId, state } = deadLetter;
  if (state === "dead") return requeue(trx, id, { ...deadLetter, id: messageId, state: "waiting" });
  const { incoming } = deadLetter.data as { incoming?: unknown };
  const content = parseMessage(incoming, Date.now(), Number.POSITIVE_INFINITY);
  if (content.state === "quarantined" || content.id !== messageId) {
    throw fail("VALIDATION_ERROR", `The message still cannot be understood: ${content.error}`);
  }
  await requeue(trx, id, content);
}
