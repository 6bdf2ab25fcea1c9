import { typeOf } from "../../../contracts/errors.ts";
import { type Backoff, backoffMs } from "../../../lib/backoff.ts";
import { newId } from "../../../lib/ids.ts";
import type { Logger } from "../../../lib/logger.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import {
  type ClaimedExport,
  claimExports,
  failExport,
  postponeExport,
  storePage,
} from "../store/exports.repository.ts";
import { readExportPage } from "../use-cases/export-steps.ts";

/** Exports that a process makes at once. */
const AT_ONCE = 2;
/** Longer than a page takes; each page renews it. */
const LEASE_MS = 10_000;
/** After this number of pages other exports have their turn. */
const PAGES_OF_A_TURN = 20;
const BACKOFF: Backoff = { firstMs: 1_000, factor: 2, maxMs: 300_000, jitter: 0.2 };

/** Makes the pages of due exports. A page is stored with the next step, so another process continues after a crash. */
export async function makeExports(
  deps: IdentityDependencies,
  calls: Parameters<typeof readExportPage>[1],
  logger: Logger,
  stopping: AbortSignal,
): Promise<void> {
  let claimed: ClaimedExport[];
  do {
    const claim = { leaseId: newId(), leaseMs: LEASE_MS, limit: AT_ONCE };
    claimed = await claimExports(deps.postgres.db, claim);
    await Promise.all(
      claimed.map((one) =>
        makePages(deps, calls, one, stopping).catch(async (error) => {
          logger.warn(`export ${one.id}: the next page failed and will be tried again:`, String(error));
          const failures = one.failures + 1;
          await postponeExport(deps.postgres.db, one, backoffMs(BACKOFF, failures), failures);
        }),
      ),
    );
  } while (claimed.length > 0 && !stopping.aborted);
}

async function makePages(
  deps: IdentityDependencies,
  calls: Parameters<typeof readExportPage>[1],
  claimed: ClaimedExport,
  stopping: AbortSignal,
): Promise<void> {
  const { db } = deps.postgres;
  if (claimed.isExpired) return await failExport(db, claimed);
  const { userId, ticket } = claimed;
  let step = claimed.nextStep;
  for (let made = 0; made < PAGES_OF_A_TURN && !stopping.aborted; made++) {
    const read = await readExportPage(deps, calls, { userId, ticket, step }).catch((error) => {
      // The account was deleted, and the export with it.
      if (typeOf(error) === "NOT_FOUND") return undefined;
      throw error;
    });
    if (!read) return await failExport(db, claimed);
    if (!(await storePage(db, claimed, { ...read, nextStep: read.nextStep, leaseMs: LEASE_MS }))) return;
    if (read.nextStep === undefined) return;
    step = read.nextStep;
  }
  await postponeExport(db, claimed, 0, 0);
}
