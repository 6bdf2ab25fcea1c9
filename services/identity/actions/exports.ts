import type { Params, Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { ExportedData, ExportPage, ExportStatus } from "../../../contracts/exports.ts";
import type { Caller, Ctx } from "../../../contracts/meta.ts";
import { exportTicket } from "../../../lib/export-ticket.ts";
import { newId } from "../../../lib/ids.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Db } from "../../../lib/sql/database.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { type ExportRow, findExport, findPage, insertExport } from "../store/exports.repository.ts";
import { FIRST_STEP, readExportPage } from "../use-cases/export-steps.ts";

/** Pages that a request reads itself: profile, orders, deliveries and notifications of a user with few of them. */
const PAGES_OF_A_REQUEST = 4;
/** A larger export is a file that is kept for this time. */
const FILE_LIFE_SECONDS = 86_400;

/** Begins the export now. */
type Wake = () => void;

/**
 * All data of the caller. Of a user with much data, the beginnings of the lists, and the status of the file that is made of
 * all. A repeat returns the status of the same file until that expires.
 * @throws SERVICE_UNAVAILABLE if a service does not answer
 */
export async function exportData(
  deps: IdentityDependencies,
  ctx: Ctx<unknown>,
  caller: Caller,
  wake: Wake,
): Promise<ExportedData> {
  const pages: ExportPage[] = [];
  let step: string | undefined = FIRST_STEP;
  const ticket = ticketOf(deps, caller);
  while (step !== undefined && pages.length < PAGES_OF_A_REQUEST) {
    const { page, nextStep }: Awaited<ReturnType<typeof readExportPage>> = await readExportPage(deps, ctx, {
      ...{ userId: caller.id, ticket, step },
    });
    pages.push(page);
    step = nextStep;
  }
  const data = merged(pages, caller);
  return step === undefined ? data : { ...data, file: await beginOnce(deps, deps.postgres.db, caller, wake) };
}

/** Begins a file of the caller's data in the background, unless there is one. */
export async function beginExport(
  deps: IdentityDependencies,
  ctx: Ctx<unknown>,
  caller: Caller,
  wake: Wake,
): Promise<ExportStatus> {
  return idempotent(deps.postgres, ctx, "identity.beginExport", (trx) => {
    const begun = () => void trx.committed.then(wake, () => undefined);
    return beginOnce(deps, trx, caller, begun);
  });
}

async function beginOnce(
  deps: IdentityDependencies,
  db: Db,
  caller: Caller,
  wake: Wake,
): Promise<ExportStatus> {
  const present = await findExport(db, caller.id);
  if (present && present.state !== "failed") return statusOf(deps, present);
  const life = { firstStep: FIRST_STEP, lifeSeconds: FILE_LIFE_SECONDS };
  await insertExport(db, { id: newId(), userId: caller.id, ticket: ticketOf(deps, caller), ...life });
  wake();
  return await statusIn(deps, db, caller.id);
}

function ticketOf({ clock, encryptionKeys }: IdentityDependencies, { id }: Caller): string {
  return exportTicket(id, clock.now() + FILE_LIFE_SECONDS * 1_000, encryptionKeys);
}

function merged(pages: readonly ExportPage[], { sessionId }: Caller): ExportedData {
  const first = <T>(of: (page: ExportPage) => T | undefined) =>
    pages.map(of).find((part) => part !== undefined);
  const all = <T>(of: (page: ExportPage) => T[] | undefined) => pages.flatMap((page) => of(page) ?? []);
  const profile = first((page) => page.profile);
  if (!profile) throw fail("NOT_FOUND");
  return omitUndefined({
    profile,
    avatarUrl: first((page) => page.avatarUrl),
    sessions: all((page) => page.sessions).map((one) => ({ ...one, current: one.id === sessionId })),
    audit: all((page) => page.audit),
    duty: first((page) => page.duty),
    addresses: all((page) => page.addresses),
    orders: all((page) => page.orders),
    deliveries: all((page) => page.deliveries),
    devices: all((page) => page.devices),
    preferences: first((page) => page.preferences),
    notifications: all((page) => page.notifications),
  });
}

/** @throws NOT_FOUND without an export in the background */
export function exportStatus(deps: IdentityDependencies, userId: string): Promise<ExportStatus> {
  return statusIn(deps, deps.postgres.db, userId);
}

async function statusIn(deps: IdentityDependencies, db: Db, userId: string): Promise<ExportStatus> {
  const found = await findExport(db, userId);
  if (!found) throw fail("NOT_FOUND", "There is no export of yours: begin one by POST /me/export.");
  return statusOf(deps, found);
}

function statusOf(
  { publicUrl }: IdentityDependencies,
  { state, createdAt, expiresAt }: ExportRow,
): ExportStatus {
  const url = `${publicUrl}/api/v1/me/export/file`;
  return { state, requestedAt: createdAt, expiresAt, ...(state === "ready" && { url }) };
}

/** @throws NOT_FOUND unless the caller's export is ready and has this page */
export async function readStoredPage(
  { postgres }: IdentityDependencies,
  { id }: Caller,
  { number }: Params<"identity.exportPage">,
): Promise<Result<"identity.exportPage">> {
  const found = await findPage(postgres.db, id, number);
  if (!found) throw fail("NOT_FOUND", "There is no such file: begin an export by POST /me/export.");
  return { page: found.content, isLast: number === found.pages };
}
