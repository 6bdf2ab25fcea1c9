import type { ActionSchema, ServiceSchema } from "moleculer";
import { implement, type Params, type Result } from "../../../contracts/actions.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import {
  dropDeadLetters,
  replayDeadLetters,
  replayedTogether,
  together,
} from "../../../mixins/consumer/dead-letter-drop.ts";
import { audit } from "../../../mixins/outbox/audit.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import {
  deadWebhooks,
  dropDeadWebhook,
  findDelivery,
  listDeadWebhooks,
  WEBHOOK_CONSUMER,
} from "../store/webhook-deliveries.repository.ts";
import { replayWebhook, requeueWebhook } from "./webhook-endpoint.ts";

const DEFAULT_LIMIT = 50;
type Handler<P, R> = (ctx: Ctx<P>) => Promise<R>;
type SingleDeadLetterHandler = Handler<Params<"partners.replayDeadLetter">, Record<string, never>>;

/**
 * Actions on the dead letters of this service: those of its inbox, and the webhooks that partners' systems did not accept.
 * They appear to the operator as one list.
 * @param inbox the actions of the consumer mixin
 */
export function deadLetterActions(
  deps: PartnersDependencies,
  inbox: ServiceSchema["actions"],
): ServiceSchema["actions"] {
  const { postgres } = deps;
  const listInbox = handlerOf(inbox, "deadLetters") as Handler<
    Params<"partners.deadLetters">,
    Result<"partners.deadLetters">
  >;
  const replayInbox = handlerOf(inbox, "replayDeadLetter") as SingleDeadLetterHandler;
  const dropInbox = handlerOf(inbox, "dropDeadLetter") as SingleDeadLetterHandler;
  const dropAllOfInbox = handlerOf(inbox, "dropDeadLetters") as Handler<
    Params<"partners.dropDeadLetters">,
    Result<"partners.dropDeadLetters">
  >;
  const replayAllOfInbox = handlerOf(inbox, "replayDeadLetters") as Handler<
    Params<"partners.replayDeadLetters">,
    Result<"partners.replayDeadLetters">
  >;
  const isWebhook = async (ctx: Ctx<{ id: string }>) => {
    callerOf(ctx, "admin");
    return (await findDelivery(postgres.db, ctx.params.id)) !== undefined;
  };
  return {
    deadLetters: implement("partners.deadLetters", async (ctx) => {
      const { items } = await listInbox(ctx);
      const limit = ctx.params.limit ?? DEFAULT_LIMIT;
      const webhooks = await listDeadWebhooks(postgres.db, limit);
      const letters = webhooks.map((letter) => ({
        ...letter,
        service: "partners",
        consumer: WEBHOOK_CONSUMER,
      }));
      return { items: [...items, ...letters].sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, limit) };
    }),
    replayDeadLetter: implement("partners.replayDeadLetter", async (ctx) => {
      if (!(await isWebhook(ctx))) return await replayInbox(ctx);
      await postgres.transact((trx) => replayWebhook(deps, trx, ctx, ctx.params.id, undefined));
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
    replayDeadLetters: implement("partners.replayDeadLetters", async (ctx) => {
      const ofInbox = await replayAllOfInbox(ctx);
      return replayedTogether(
        ofInbox,
        await replayDeadLetters(deps, ctx, deadWebhooks, WEBHOOK_CONSUMER, (trx, id) =>
          requeueWebhook(deps, trx, id, undefined),
        ),
      );
    }),
    dropDeadLetters: implement("partners.dropDeadLetters", async (ctx) => {
      const ofInbox = await dropAllOfInbox(ctx);
      return together(ctx.params, ofInbox, await dropDeadLetters(deps, ctx, deadWebhooks, WEBHOOK_CONSUMER));
    }),
  };
}

function handlerOf(actions: ServiceSchema["actions"], name: string): unknown {
  return (actions as Record<string, ActionSchema>)[name]?.handler;
}
