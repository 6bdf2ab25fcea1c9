import type { ActionSchema, ServiceSchema } from "moleculer";
import { implement, type Params, type Result } from "../../contracts/actions.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { audit } from "../../mixins/audit/audit.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import type { PartnersDeps } from "./deps.ts";
import { dropDeadWebhook, findDelivery, listDeadWebhooks } from "./webhooks/deliveries.repository.ts";
import { replayWebhook } from "./webhooks/endpoint.ts";
import type { Sender } from "./webhooks/sender.ts";

const DEFAULT_LIMIT = 50;
const CONSUMER = "partner-webhooks";

type Handler<P, R> = (ctx: Ctx<P>) => Promise<R>;
type OneLetter = Handler<Params<"partners.replayDeadLetter">, Record<string, never>>;

/**
 * The dead letters of this service: those of its inbox, which `inbox` lists and handles, and the calls that no
 * partner's system accepted. To the operator they are the same.
 * @param inbox the actions that the consumer mixin brings
 */
export function deadLetterActions(
  deps: PartnersDeps & { sender: Sender },
  inbox: ServiceSchema["actions"],
): ServiceSchema["actions"] {
  const { postgres } = deps;
  const listInbox = handlerOf(inbox, "deadLetters") as Handler<
    Params<"partners.deadLetters">,
    Result<"partners.deadLetters">
  >;
  const replayInbox = handlerOf(inbox, "replayDeadLetter") as OneLetter;
  const dropInbox = handlerOf(inbox, "dropDeadLetter") as OneLetter;
  const isWebhook = async (ctx: Ctx<{ id: string }>) => {
    callerOf(ctx, "admin");
    return (await findDelivery(postgres.db, ctx.params.id)) !== undefined;
  };
  return {
    deadLetters: implement("partners.deadLetters", async (ctx) => {
      const { items } = await listInbox(ctx);
      const limit = ctx.params.limit ?? DEFAULT_LIMIT;
      const webhooks = await listDeadWebhooks(postgres.db, limit);
      const letters = webhooks.map((letter) => ({ ...letter, service: "partners", consumer: CONSUMER }));
      return { items: [...items, ...letters].sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, limit) };
    }),
    replayDeadLetter: implement("partners.replayDeadLetter", async (ctx) => {
      if (!(await isWebhook(ctx))) return await replayInbox(ctx);
      await postgres.transact(async (trx) => {
        await replayWebhook(deps, trx, ctx, ctx.params.id, undefined);
        deps.sender.wakeAfter(trx);
      });
      return {};
    }),
    dropDeadLetter: implement("partners.dropDeadLetter", async (ctx) => {
      if (!(await isWebhook(ctx))) return await dropInbox(ctx);
      await postgres.transact(async (trx) => {
        await dropDeadWebhook(trx, ctx.params.id);
        await audit(deps.outbox, trx, ctx, ctx.params.id);
      });
      return {};
    }),
  };
}

function handlerOf(actions: ServiceSchema["actions"], name: string): unknown {
  return (actions as Record<string, ActionSchema>)[name]?.handler;
}
