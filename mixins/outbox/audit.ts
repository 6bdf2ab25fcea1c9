import { message } from "../../contracts/messages.ts";
import type { Ctx } from "../../contracts/meta.ts";
import type { Transaction } from "../../lib/sql/database.ts";
import { shorten } from "../../lib/text.ts";
import { callerOf } from "../caller/caller.ts";
import type { Outbox } from "./outbox.mixin.ts";

const DETAIL_MAX = 2_000;
const IP_MAX = 45;

/**
 * Says in the transaction of an act who did it, if it was an operator: the log that Identity keeps then has an
 * entry if and only if the act was committed. What partners and customers do with their own is no entry.
 * @param subject the id of what was acted on
 * @param detail what was changed; ids and names of fields, never people and never secrets, for nothing here is erased
 */
export async function audit(
  outbox: Pick<Outbox, "add">,
  trx: Transaction,
  ctx: Ctx<unknown>,
  subject: string,
  detail?: string,
): Promise<void> {
  const caller = callerOf(ctx);
  if (caller.role !== "admin") return;
  const ip = ctx.meta.clientIp?.slice(0, IP_MAX);
  const entry = message("audit.recorded", subject, {
    version: 1,
    actorId: caller.id,
    action: ctx.action?.name ?? "unknown",
    subject,
    ...(detail && { detail: shorten(detail, DETAIL_MAX) }),
    ...(ip && { ip }),
  });
  await outbox.add(trx, [entry]);
}

/** Which fields an act gave, without the values, and without the ids that say what it was done to. */
export function fieldsOf(params: object): string {
  const given = Object.entries(params).filter(
    ([name, value]) => value !== undefined && !NOT_CHANGES.test(name),
  );
  return given.map(([name]) => name).join(", ");
}

const NOT_CHANGES = /Id$|^id$|^expectedVersion$/;
