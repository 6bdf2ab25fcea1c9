import type { Params, Result } from "../../../contracts/actions.ts";
import { requirePostalCode } from "../../../contracts/addresses.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import { type Ctx, isOperator } from "../../../contracts/meta.ts";
import type { Partner } from "../../../contracts/partners.ts";
import { isEmptyChange } from "../../../lib/changes.ts";
import { isoTime, momentOf } from "../../../lib/clock.ts";
import { newId } from "../../../lib/ids.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit, fieldsOf } from "../../../mixins/outbox/audit.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import { hoursTrouble } from "../domain/opening-hours.ts";
import {
  findPartner,
  insertPartner,
  listPartners,
  type PartnerChange,
  recordSetAt,
  setBusyUntil,
  updatePartner,
} from "../store/partners.repository.ts";
import { announcePartner } from "../use-cases/announce-partner.ts";
import { partnerView, partnerViewFor } from "../use-cases/views.ts";
import { managerOf, noSuchPartner, onlyItsAdmin } from "./access.ts";
import { afterOf, pageOf } from "./pages.ts";
import { refuseBadUrl } from "./webhook-url.ts";

const UNIQUE_VIOLATION = "23505";
const DEFAULT_PAGE_SIZE = 20;
/** The fields of a partner that its staff may change; only its admin may change the others. */
const STAFF_FIELDS: readonly string[] = ["preparationMinutes"];
/** A pause is for a rush or a holiday. For longer closures the operator disables the partner. */
const MAX_BUSY_MS = 90 * 86_400_000;

/** Lists the partners that the caller may see: staff see their own, customers see enabled and verified partners. */
export async function list(
  { postgres, clock }: PartnersDependencies,
  ctx: Ctx<Params<"partners.list">>,
): Promise<Result<"partners.list">> {
  const caller = callerOf(ctx);
  const { limit = DEFAULT_PAGE_SIZE, cursor } = ctx.params;
  const found = await listPartners(postgres.db, {
    publicOnly: !isOperator(caller.role) && caller.role !== "partner",
    id: caller.partnerId,
    afterId: afterOf(cursor, 1)?.[0],
    limit: limit + 1,
  });
  return pageOf(
    found,
    limit,
    (partner) => [partner.id],
    (partner) => partnerViewFor(caller, partner, clock.now()),
  );
}

/** @throws NOT_FOUND, also for a partner that the caller may not see */
export async function get(
  { postgres, clock }: PartnersDependencies,
  ctx: Ctx<Params<"partners.get">>,
): Promise<Partner> {
  const caller = callerOf(ctx);
  const partner = await findPartner(postgres.db, ctx.params.partnerId);
  if (!partner) throw noSuchPartner();
  const shown =
    caller.role === "partner" ? caller.partnerId === partner.id : partner.enabled && partner.verified;
  if (!shown && !isOperator(caller.role)) throw noSuchPartner();
  return partnerViewFor(caller, partner, clock.now());
}

/** Creates a partner. It is not verified, and closed until it has opening hours. @throws PARTNER_EXISTS */
export async function create(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.create">>,
): Promise<Partner> {
  callerOf(ctx, "admin");
  const fields = ctx.params;
  return await idempotent(deps.postgres, ctx, "partners.create", async (trx) => {
    requirePostalCode(fields.address);
    refuseBadUrl(deps.guard, "apiUrl", fields.apiUrl);
    const made = await insertPartner(trx, { id: newId(deps.clock.now()), ...fields });
    if (!made) throw fail("PARTNER_EXISTS");
    await audit(deps.outbox, trx, ctx, made.id);
    return await announcePartner(deps, trx, made);
  });
}

/**
 * @throws FORBIDDEN when a partner changes `enabled` or `verified`, or its staff change more than STAFF_FIELDS;
 *   PRECONDITION_FAILED, PARTNER_EXISTS
 */
export async function update(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.update">>,
): Promise<Partner> {
  const caller = managerOf(ctx);
  const { partnerId: _, expectedVersion, ...change } = ctx.params;
  const changesOperatorFields = change.enabled !== undefined || change.verified !== undefined;
  if (changesOperatorFields && caller.role !== "admin") {
    throw fail("FORBIDDEN", "Whether a partner is enabled and verified is an admin's to say.");
  }
  const beyondStaff = Object.keys(change).some((field) => !STAFF_FIELDS.includes(field));
  if (beyondStaff && caller.role !== "admin" && !caller.partnerAdmin) throw onlyItsAdmin();
  refuseBadUrl(deps.guard, "apiUrl", change.apiUrl ?? undefined);
  requirePostalCode(change.address);
  return await save(deps, ctx, change, expectedVersion);
}

/** @throws VALIDATION_ERROR for an unknown time zone or a span that ends before it begins */
export async function setHours(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.setHours">>,
): Promise<Partner> {
  managerOf(ctx);
  const { hours, expectedVersion, at } = ctx.params;
  const trouble = hoursTrouble(hours);
  if (trouble) throw invalidField(trouble.field, "hours", trouble.message);
  const change = { timeZone: hours.timeZone, openingSpans: hours.spans };
  return await save(deps, ctx, change, expectedVersion, { what: "hours_set_at", at: setAtOf(at) });
}

/** Pauses a partner until a time; without one it takes orders again. */
export async function setBusy(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.setBusy">>,
): Promise<Partner> {
  managerOf(ctx);
  const { partnerId, busyUntil, expectedVersion, at } = ctx.params;
  const until = busyUntil === undefined ? undefined : endOfPause(busyUntil, deps.clock.now());
  return await deps.postgres.transact(async (trx) => {
    if (!(await recordSetAt(trx, partnerId, "busy_set_at", setAtOf(at))))
      return await storedPartner(deps, trx, partnerId);
    const saved = await setBusyUntil(trx, partnerId, until, expectedVersion);
    if (!saved) throw await notChanged(trx, partnerId);
    await audit(deps.outbox, trx, ctx, partnerId, busyUntil && `until ${busyUntil}`);
    return await announcePartner(deps, trx, saved);
  });
}

/** @throws VALIDATION_ERROR for an invalid time, and for a pause that is too long */
function endOfPause(busyUntil: string, nowMs: number): string {
  const untilMs = momentOf(busyUntil) ?? Number.POSITIVE_INFINITY;
  if (untilMs > nowMs + MAX_BUSY_MS) {
    throw invalidField("busyUntil", "max", "Not a time within the next 90 days.");
  }
  return isoTime(untilMs);
}

/** Returns the partner without a change: a later setting is already stored. */
async function storedPartner(
  { clock }: PartnersDependencies,
  trx: Transaction,
  partnerId: string,
): Promise<Partner> {
  const found = await findPartner(trx, partnerId);
  if (!found) throw noSuchPartner();
  return partnerView(found, clock.now());
}

function setAtOf(at: string | undefined): string | undefined {
  if (at === undefined) return undefined;
  const atMs = momentOf(at);
  if (atMs === undefined) throw invalidField("at", "time", "This is no moment in time.");
  return isoTime(atMs);
}

async function save(
  deps: PartnersDependencies,
  ctx: Ctx<{ partnerId: string }>,
  change: PartnerChange,
  expectedVersion: number | undefined,
  set?: { what: "hours_set_at"; at: string | undefined },
): Promise<Partner> {
  const { partnerId } = ctx.params;
  return await deps.postgres.transact(async (trx) => {
    if (set && !(await recordSetAt(trx, partnerId, set.what, set.at)))
      return await storedPartner(deps, trx, partnerId);
    if (isEmptyChange(change)) {
      const found = await findPartner(trx, partnerId);
      const isExpected = expectedVersion === undefined || found?.version === expectedVersion;
      if (!found || !isExpected) throw await notChanged(trx, partnerId);
      return partnerView(found, deps.clock.now());
    }
    const saved = await updatePartner(trx, partnerId, change, expectedVersion).catch(refusedTitle);
    // A title conflict aborts the transaction, but `refusedTitle` has thrown before this line.
    if (!saved) throw await notChanged(trx, partnerId);
    await audit(deps.outbox, trx, ctx, partnerId, fieldsOf(change));
    return await announcePartner(deps, trx, saved);
  });
}

async function notChanged(trx: Transaction, partnerId: string): Promise<Error> {
  return (await findPartner(trx, partnerId)) ? fail("PRECONDITION_FAILED") : noSuchPartner();
}

function refusedTitle(error: { code?: string }): never {
  throw error.code === UNIQUE_VIOLATION ? fail("PARTNER_EXISTS") : error;
}
