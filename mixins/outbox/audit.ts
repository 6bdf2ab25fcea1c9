import { message } from "../../contracts/messages.ts";
import { type Ctx, isOperator } from "../../contracts/meta.ts";
import type { Transaction } from "../../lib/sql/database.ts";
import { shorten } from "../../lib/text.ts";
import { callerOf } from "../caller/caller.ts";
import type { Outbox } from "./outbox.mixin.ts";

const DETAIL_MAX = 2_000;
const IP_MAX = 45;

/**
 * Records an operator's action for the audit log of Identity, in the transaction of the action: the log has an entry if
 * and only if the action was committed. Actions of customers and partner staff on their own data are not recorded.
 * @param subject the id of the order, user or partner that was changed
 * @param detail what was changed: ids and names of fields, never personal data or secrets, because entries are not erased
 */
export async function audit(
  outbox: Pick<Outbox, "add">,
  trx: Transaction,
  ctx: Ctx<unknown>,
  subject: string,
  detail?: string,
): Promise<void> {
  const caller = callerOf(ctx);
  if (!isOperator(caller.role)) return;
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

/** The names of the given fields, without their values and without ids. */
export function fieldsOf(params: object): string {
  const given = Object.entries(params).filter(
    ([name, value]) => value !== undefined && !NOT_CHANGES.test(name),
  );
  return given.map(([name]) => name).join(", ");
}

const NOT_CHANGES = /Id$|^id$|^expectedVersion$/;
